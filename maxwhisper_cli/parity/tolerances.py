"""Allowed distance of an implementation from `cpu` at each rung, per dtype.

Float32 differs only by the order of summation, which for these models stays below 1e-4; the limits
are ten times that. Half precision has 11 bits (float16) or 8 (bfloat16) per number; its error is
bounded by the relative error of a whole array, not by its largest difference. Integers (int8) are
off by up to 1/254 of the largest number of their row; with matrix units, the encoder is then in
bfloat16.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Limits of the largest difference, or of the relative error."""

    weights: float
    """Largest difference of any weight."""
    mel: float
    """Largest difference of a window's log-mel values, which are about -1 to 1.5.

    Transforms of different libraries differ by 5e-5 in the quietest bands.
    """
    states: float
    """Relative error of the encoder's states, a few of whose numbers are in the thousands."""
    encoder: float
    """Limit of the encoder's output: largest difference in float32, else relative error."""
    logits: float
    """Limit of logits: largest difference in float32, else relative error."""
    is_relative: bool
    has_equal_tokens: bool
    """True if tokens, segments and text must be the same."""


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
