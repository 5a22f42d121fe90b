"""How far an implementation may be from `cpu` at each rung, per dtype: the one table of it.

Float32 differs only by the order of summing, which for these models stays below 1e-4; the limits
leave it ten times that. Half precision keeps 11 bits (float16) or 8 (bfloat16) of each number, and
what it changes is bounded by the relative error of a whole array, not by its largest difference.
Integers (int8) are off by up to 1/254 of the largest number of their row; the logits of tiny.en
come out 3 to 5 % off, and another token is the likeliest at one place in a hundred. Where the
processor has matrix units, the encoder is in bfloat16 then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Limits on the largest difference, or on the relative error where that is what counts."""

    weights: float
    """Largest difference of any weight."""
    mel: float
    """Largest difference of a window's log-mel values, which are about -1 to 1.5.

    Transforms of different libraries differ by 5e-5 in the quietest bands.
    """
    states: float
    """Relative error of the encoder's states, a few of whose numbers are in the thousands."""
    encoder: float
    """Of the encoder's output: largest difference in float32, else relative error."""
    logits: float
    """Of logits: largest difference in float32, else relative error."""
    is_relative: bool
    has_equal_tokens: bool
    """Whether tokens, segments and text must be the same."""


TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "float32": Tolerance(
            weights=0.0,
            mel=1e-4,
            states=1e-5,
            encoder=1e-3,
            logits=2e-3,
            is_relative=False,
            has_equal_tokens=True,
        ),
        "float16": Tolerance(
            weights=1e-3,
            mel=1e-4,
            states=1e-2,
            encoder=1e-2,
            logits=1e-2,
            is_relative=True,
            has_equal_tokens=False,
        ),
        "bfloat16": Tolerance(
            weights=1e-2,
            mel=1e-4,
            states=5e-2,
            encoder=5e-2,
            logits=5e-2,
            is_relative=True,
            has_equal_tokens=False,
        ),
        "int8": Tolerance(
            weights=1e-2,
            mel=1e-4,
            states=5e-2,
            encoder=5e-2,
            logits=1e-1,
            is_relative=True,
            has_equal_tokens=False,
        ),
    }
)
