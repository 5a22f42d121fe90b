"""Options of a transcription: openai-whisper's, with its command line's defaults."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from weights.errors import MaxWhisperError

Task = Literal["transcribe", "translate"]


class OptionsError(MaxWhisperError):
    """Options contradict each other or make no sense."""


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """Checked options of a transcription; vary them with `dataclasses.replace`."""

    task: Task = "transcribe"
    language: str | None = None
    """Code such as `es`; None detects it from the first 30 s."""

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Temperatures to try in turn until a window's text passes the thresholds."""
    beam_size: int | None = 5
    """Beams at temperature 0; None decodes greedily."""
    best_of: int | None = 5
    """Samples above temperature 0, of which the most probable is used."""
    patience: float | None = None
    """Beam search stops after beam_size * patience ended hypotheses; None means 1."""
    length_penalty: float | None = None
    """Alpha of the GNMT length penalty, 0 to 1; None divides by the length."""
    seed: int = 0
    """Seed of sampling: the same seed, audio and model give the same text."""

    compression_ratio_threshold: float | None = 2.4
    """Text that zlib compresses more than this counts as a repetition loop: decoded again."""
    logprob_threshold: float | None = -1.0
    """Text with a lower mean log-probability per token is decoded again."""
    no_speech_threshold: float | None = 0.6
    """Windows more probably silent than this, and below `logprob_threshold`, are skipped."""

    condition_on_previous_text: bool = True
    """True if a window's prompt is the text before it."""
    initial_prompt: str | None = None
    """Text before the first window: names, spelling, style."""
    carry_initial_prompt: bool = False
    """True if the initial prompt stays in front of every window's prompt."""
    prefix: str | None = None
    """Text that each window's output begins with."""

    suppress_tokens: tuple[int, ...] = (-1,)
    """Tokens that are never sampled; -1 means everything that is not speech."""
    suppress_blank: bool = True
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0
    """Latest start of a window's first segment, in seconds."""
    sample_len: int | None = None
    """Largest number of tokens per window; None is half of the decoder's positions."""

    batch_size: int = 1
    """Windows decoded together, of one recording or several. Above 1 each recording is cut into up
    to as many shards of 2 minutes or more, and no window is prompted with the text before it."""
    clip_timestamps: tuple[float, ...] = (0.0,)
    """Clips as start, end, start, end, ... in seconds; a missing last end is the audio's end."""

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            OptionsError: An option is out of range, or contradicts another.
        """
        self._check_search()
        self._check_patience()
        self._check_clips()
        if not 1 <= self.batch_size <= 1024:
            raise OptionsError("batch_size must be from 1 to 1024")
        if self.sample_len is not None and self.sample_len < 1:
            raise OptionsError("sample_len must be at least 1")
        if self.carry_initial_prompt and self.initial_prompt is None:
            raise OptionsError("carry_initial_prompt needs an initial_prompt")

    def _check_search(self) -> None:
        if not self.temperatures or any(not 0 <= t <= 2 for t in self.temperatures):
            raise OptionsError("temperatures must be one or more numbers from 0 to 2")
        for name in ("beam_size", "best_of"):
            count = getattr(self, name)
            if count is not None and not 1 <= count <= 100:
                raise OptionsError(f"{name} must be from 1 to 100")
        if self.length_penalty is not None and not 0 <= self.length_penalty <= 1:
            raise OptionsError("length_penalty must be from 0 to 1")
        if self.seed < 0:
            raise OptionsError("seed must be 0 or more")

    def _check_patience(self) -> None:
        if self.patience is None:
            return
        if self.beam_size is None:
            raise OptionsError("patience needs a beam_size")
        if not math.isfinite(self.patience) or round(self.beam_size * self.patience) < 1:
            raise OptionsError("patience leaves no hypothesis: beam_size * patience is below 1")

    def _check_clips(self) -> None:
        clips = self.clip_timestamps
        if any(not math.isfinite(at) or at < 0 for at in clips):
            raise OptionsError("clip_timestamps must be seconds from 0 on")
        if any(later < earlier for earlier, later in itertools.pairwise(clips)):
            raise OptionsError("clip_timestamps must not go back in time")
