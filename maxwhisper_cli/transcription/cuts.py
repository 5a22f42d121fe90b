"""Places where a long recording is cut, so that its parts can be decoded side by side.

A part is at most the 30 s that the encoder reads, so that mostly one window is a part. Cuts depend
on the recording and on what is transcribed of it, never on the number of rows, so that its text
does not either. A cut lies in the quietest moment; clips are parts of their own, and with voice
activity pauses lie between these. WhisperX cuts at pauses too (arXiv:2303.00747, section 2.2).
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from maxwhisper_cli.transcription.mel import FRAMES_PER_SECOND, N_FRAMES, Clip, Float64

_REACH_FRAMES = N_FRAMES // 3
"""Frames at the end of a full window among which the quietest moment is looked for."""
_LEAST_FRAMES = 500
"""Frames to leave behind a cut: in a second or two alone, words are invented."""
_QUIET_FRAMES = 31
"""Length of the moment that is to be quiet."""

Loudness = Callable[[int, int], Float64]
"""Returns the mean over the bands of mel frames: (first frame, number of frames) -> [n_frames]."""


def cut_clips(clips: Sequence[Clip], loudness: Loudness) -> list[Clip]:
    """Returns the parts of clips, of at most 30 s each, in order.

    Args:
        clips: Clips to transcribe, in order, in mel frames; none overlaps another.
        loudness: Returns the loudness of the recording's mel frames.
    """
    return [part for clip in clips for part in _parts(clip, loudness)]


def count_parts(seconds: float) -> int:
    """Returns the least number of parts that so many seconds are cut into, 1 if they are not."""
    return max(1, -(-int(seconds * FRAMES_PER_SECOND) // N_FRAMES))


def _parts(clip: Clip, loudness: Loudness) -> Iterator[Clip]:
    start, end = clip
    while end - start > N_FRAMES:
        last = min(start + N_FRAMES, end - _LEAST_FRAMES)
        cut = _quietest(start + N_FRAMES - _REACH_FRAMES, last, loudness)
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _quietest(first: int, last: int, loudness: Loudness) -> int:
    """Returns the middle of the quietest moment between two frames."""
    sums = np.convolve(loudness(first, last - first), np.ones(_QUIET_FRAMES), mode="valid")
    return first + int(sums.argmin()) + _QUIET_FRAMES // 2
