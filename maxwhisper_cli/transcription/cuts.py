"""Places where a long recording is cut, so that its parts can be decoded side by side.

A part is at most the 30 s that the encoder reads, so that mostly one window is a part. Cuts depend
on the recording and on what is transcribed of it, never on the number of rows, so that its text
does not either. A cut lies in the quietest moment; clips are parts of their own, and with voice
activity pauses lie between these. WhisperX cuts at pauses too (arXiv:2303.00747, section 2.2).
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from maxwhisper_cli.transcription.mel import FRAMES_PER_SECOND, N_FRAMES, Clip, Float32

_REACH_FRAMES = N_FRAMES // 3
"""Frames at the end of a full window among which the quietest moment is looked for."""
_LEAST_FRAMES = 500
"""Frames to leave behind a cut: in a second or two alone, words are invented."""
_QUIET_FRAMES = 31
"""Length of the moment that is to be quiet."""

Window = Callable[[int, int], Float32]
"""Reads mel frames: (first frame, number of frames) -> [n_mels, n_frames]."""


def cut_clips(clips: Sequence[Clip], window: Window) -> list[Clip]:
    """Returns the parts of clips, of at most 30 s each, in order.

    Args:
        clips: Clips to transcribe, in order, in mel frames; none overlaps another.
        window: Reads mel frames of the recording.
    """
    return [part for clip in clips for part in _parts(clip, window)]


def count_parts(seconds: float) -> int:
    """Returns the least number of parts that so many seconds are cut into, 1 if they are not."""
    return max(1, -(-int(seconds * FRAMES_PER_SECOND) // N_FRAMES))


def _parts(clip: Clip, window: Window) -> Iterator[Clip]:
    start, end = clip
    while end - start > N_FRAMES:
        last = min(start + N_FRAMES, end - _LEAST_FRAMES)
        cut = _quietest(start + N_FRAMES - _REACH_FRAMES, last, window)
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _quietest(first: int, last: int, window: Window) -> int:
    """Returns the middle of the quietest moment between two frames."""
    loudness = window(first, last - first).mean(axis=0, dtype=np.float64)
    sums = np.convolve(loudness, np.ones(_QUIET_FRAMES), mode="valid")
    return first + int(sums.argmin()) + _QUIET_FRAMES // 2
