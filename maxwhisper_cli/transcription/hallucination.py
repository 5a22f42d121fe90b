"""Segments that the model may have invented, by the times and probabilities of their words.

A segment of words that are very short, very long or improbable is an anomaly; beside silence or
another anomaly it counts as invented, and decoding begins again after the silence.

Source: `is_segment_anomaly` and its use in whisper/transcribe.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from maxwhisper_cli.transcription.options import APPENDED, PREPENDED
from maxwhisper_cli.transcription.segments import Segment, Word

_PUNCTUATION = PREPENDED + APPENDED
_N_WORDS = 8
"""Words at the beginning of a segment that are looked at."""
_MAX_SCORE = 3.0
_BORDER_SECONDS = 2.0
"""Seconds from the beginning or end of a window that count as beside silence."""


@dataclass(frozen=True, slots=True)
class WindowSpan:
    """Times of a window in the recording, in seconds."""

    start: float
    audio_end: float
    """End of the audio in it."""
    end: float
    """End of its 30 s."""


def is_anomaly(segment: Segment | None) -> bool:
    """Returns True if the words of a segment are such as the model invents."""
    if segment is None or not segment.words:
        return False
    words = [word for word in segment.words if word.word not in _PUNCTUATION][:_N_WORDS]
    score = sum(_score(word) for word in words)
    return score >= _MAX_SCORE or score + 0.01 >= len(words)


def _score(word: Word) -> float:
    """Returns 0 for a usual word, more the longer, shorter or less probable it is."""
    duration = word.end - word.start
    score = 0.0
    if word.probability < 0.15:
        score += 1.0
    if duration < 0.133:
        score += (0.133 - duration) * 15
    if duration > 2.0:
        score += duration - 2.0
    return score


def with_words(segments: Sequence[Segment]) -> Segment | None:
    """Returns the first segment that has words."""
    return next((segment for segment in segments if segment.words), None)


def silence_before_anomaly(
    segments: Sequence[Segment], span: WindowSpan, threshold: float
) -> float | None:
    """Returns the seconds of silence that a window begins with if its first words are an anomaly.

    None if they are not, or if the silence is not longer than the threshold.
    """
    first = with_words(segments)
    if first is None or not is_anomaly(first):
        return None
    gap = first.start - span.start
    return gap if gap > threshold else None


def first_invented(
    segments: Sequence[Segment], span: WindowSpan, threshold: float, last_speech: float
) -> int | None:
    """Returns the index of the first anomaly with silence, or more anomalies, on both sides.

    Args:
        segments: Segments of the window, with words.
        span: Times of the window.
        threshold: Seconds between words that count as silence.
        last_speech: End of the last word before the window, in seconds of the recording.
    """
    for index, segment in enumerate(segments):
        if not segment.words:
            continue
        if is_anomaly(segment):
            following = with_words(segments[index + 1 :])
            is_after_silence = (
                segment.start - last_speech > threshold
                or segment.start < threshold
                or segment.start - span.start < _BORDER_SECONDS
            )
            next_start = following.words[0].start if following and following.words else None
            is_before_silence = (
                (span.audio_end if next_start is None else next_start) - segment.end > threshold
                or is_anomaly(following)
                or span.end - segment.end < _BORDER_SECONDS
            )
            if is_after_silence and is_before_silence:
                return index
        last_speech = segment.end
    return None
