"""Spans of speech, from the probability of speech in each frame.

The rules are those of silero-vad 6.2: speech begins at a probability of at least `threshold` and
ends with a pause of `min_silence_ms`, that is of frames that begin below `neg_threshold` and stay
below `threshold`. Speech that gets too long is split at its longest pause. Nothing is computed from
samples here.

Source: `get_speech_timestamps` of silero_vad/utils_vad.py, its rules only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from maxwhisper_cli.transcription.vad_options import VadOptions

SAMPLE_RATE = 16000
FRAME_SAMPLES = 512
"""Samples of a frame, 32 ms."""
_MIN_SPLIT_PAUSE_SAMPLES = 98 * SAMPLE_RATE // 1000
"""Shortest pause at which speech that is too long is split."""


@dataclass(slots=True)
class Span:
    """A part of a recording, in samples."""

    start: int
    end: int


def find_spans(probabilities: Iterable[float], n_samples: int, options: VadOptions) -> list[Span]:
    """Returns the spans of speech in order, with their padding; they do not overlap.

    Args:
        probabilities: Probability of speech in each frame of 512 samples.
        n_samples: Length of the recording.
        options: Thresholds, lengths and padding.
    """
    finder = _Finder(options)
    for index, probability in enumerate(probabilities):
        finder.add(index * FRAME_SAMPLES, probability)
    finder.close(n_samples)
    _pad(finder.spans, _samples(options.speech_pad_ms), n_samples)
    return finder.spans


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000


@dataclass(slots=True)
class _Finder:
    """State between two frames: speech since `start`, perhaps a pause since `pause_start`."""

    options: VadOptions
    spans: list[Span] = field(default_factory=list)
    start: int | None = None
    pause_start: int | None = None
    pauses: list[Span] = field(default_factory=list)
    """Pauses of the current speech at which it may be split."""

    def add(self, at: int, probability: float) -> None:
        """Adds the frame that begins at sample `at`."""
        is_speech = probability >= self.options.threshold
        if is_speech:
            self._end_pause(at)
        if self.start is None:
            self.start = at if is_speech else None
            return
        if self._is_too_long(at) and not self._split(at):
            return
        if probability < self.options.end_threshold:
            self._extend_pause(at)

    def close(self, n_samples: int) -> None:
        """Ends the speech that lasts to the end of the recording."""
        if self.start is not None:
            self._end_speech(n_samples)

    def _end_pause(self, at: int) -> None:
        if self.pause_start is not None and at - self.pause_start > _MIN_SPLIT_PAUSE_SAMPLES:
            self.pauses.append(Span(self.pause_start, at))
        self.pause_start = None

    def _extend_pause(self, at: int) -> None:
        """Begins a pause or goes on with it, and ends the speech before it if it is long enough."""
        if self.pause_start is None:
            self.pause_start = at
        if at - self.pause_start >= _samples(self.options.min_silence_ms):
            self._end_speech(self.pause_start)

    def _end_speech(self, end: int) -> None:
        assert self.start is not None
        if end - self.start > _samples(self.options.min_speech_ms):
            self.spans.append(Span(self.start, end))
        self.start = self.pause_start = None
        self.pauses = []

    def _is_too_long(self, at: int) -> bool:
        if self.options.max_speech_s is None or self.start is None:
            return False
        padding = FRAME_SAMPLES + 2 * _samples(self.options.speech_pad_ms)
        return at - self.start > self.options.max_speech_s * SAMPLE_RATE - padding

    def _split(self, at: int) -> bool:
        """Splits speech that is too long; returns True if it was at a pause, not here."""
        assert self.start is not None
        if not self.pauses:
            self.spans.append(Span(self.start, at))
            self.start = self.pause_start = None
            return False
        pause = max(self.pauses, key=lambda pause: pause.end - pause.start)
        self.spans.append(Span(self.start, pause.start))
        self.start, self.pause_start, self.pauses = pause.end, None, []
        return True


def _pad(spans: list[Span], pad: int, n_samples: int) -> None:
    """Extends each span to both sides, up to the middle of a pause that is too short for it."""
    if not spans:
        return
    spans[0].start = max(0, spans[0].start - pad)
    for span, following in pairwise(spans):
        pause = following.start - span.end
        if pause < 2 * pad:
            span.end += pause // 2
            following.start -= pause // 2
        else:
            span.end += pad
            following.start -= pad
    spans[-1].end = min(n_samples, spans[-1].end + pad)
