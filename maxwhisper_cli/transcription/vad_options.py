"""Options of voice activity detection, with their checks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from maxwhisper_cli.transcription.option_types import OptionsError, real, whole

_NEG_THRESHOLD_BELOW = 0.15
_MIN_NEG_THRESHOLD = 0.01
_MAX_MS = 600_000


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Checked options of voice activity detection: Silero's, with defaults for transcription.

    speech/README.md has the measurements behind the defaults.
    """

    threshold: float = 0.4
    """Speech begins at a frame of at least this probability."""
    neg_threshold: float | None = None
    """Speech may end at a frame of a lower probability than this; None is `threshold` - 0.15."""
    min_speech_ms: int = 250
    """Speech that lasts no longer than this is ignored, in milliseconds."""
    min_silence_ms: int = 3000
    """Pauses shorter than this do not end speech, in milliseconds."""
    speech_pad_ms: int = 400
    """Audio kept before and behind speech, in milliseconds."""
    max_speech_s: float | None = None
    """Longest speech before it is split at its longest pause, in seconds; None never splits."""

    def __post_init__(self) -> None:
        """Checks the options, and stores them in their own types.

        Raises:
            OptionsError: An option is not understood or out of range, or contradicts another.
        """
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, check(f"vad {name}", value))
        if self.neg_threshold is not None and self.neg_threshold > self.threshold:
            raise OptionsError("vad neg_threshold must not be above threshold")
        pad_seconds = self.speech_pad_ms / 1000
        if self.max_speech_s is not None and self.max_speech_s < 2 * pad_seconds + 1:
            raise OptionsError(
                f"vad max_speech_s must be at least {2 * pad_seconds + 1:g}: 1 s and the padding"
            )

    @property
    def end_threshold(self) -> float:
        """Probability below which speech may end."""
        if self.neg_threshold is not None:
            return self.neg_threshold
        return max(self.threshold - _NEG_THRESHOLD_BELOW, _MIN_NEG_THRESHOLD)


_probability = partial(real, minimum=0, maximum=1)
_milliseconds = partial(whole, minimum=0, maximum=_MAX_MS)
_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "threshold": _probability,
    "neg_threshold": _probability,
    "min_speech_ms": _milliseconds,
    "min_silence_ms": _milliseconds,
    "speech_pad_ms": _milliseconds,
    "max_speech_s": partial(real, minimum=0),
}
"""The check of each option by itself."""
_OPTIONAL = frozenset({"neg_threshold", "max_speech_s"})
"""Options that may be None."""
