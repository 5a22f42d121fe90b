"""Places where a long recording is cut, so that its parts can be decoded side by side.

They depend on the recording and on what is transcribed of it, never on the number of rows, so that
its text does not either. A cut lies in a pause if voice activity found one near, else in the
quietest moment.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from maxwhisper_cli.transcription.mel import FRAMES_PER_SECOND, Clip, Float32

PART_FRAMES = 12000
"""Smallest length of a part in mel frames (2 min); the text before a cut prompts nothing."""
_REACH_FRAMES = 1000
"""Largest distance of a cut from equal parts, if there is no pause between clips near."""
_PAUSE_REACH_FRAMES = PART_FRAMES // 4
"""Largest distance of a cut from equal parts, if that is a pause between clips."""
_QUIET_FRAMES = 31
"""Length of the moment that is to be quiet."""

Window = Callable[[int, int], Float32]
"""Reads mel frames: (first frame, number of frames) -> [n_mels, n_frames]."""


def cut_clips(clips: Sequence[Clip], window: Window) -> list[list[Clip]]:
    """Returns the clips of each part: parts of about the same length, of two minutes or more.

    Args:
        clips: Clips to transcribe, in order, in mel frames; none overlaps another.
        window: Reads mel frames of the recording.
    """
    clips = [(start, end) for start, end in clips if start < end]
    total = sum(end - start for start, end in clips)
    n_parts = count_parts(total / FRAMES_PER_SECOND)
    places = [_place(clips, i * total // n_parts, window) for i in range(1, n_parts)]
    bounds = [0, *sorted(set(places)), clips[-1][1] if clips else 0]
    parts = [
        [
            (max(start, begin), min(end, stop))
            for start, end in clips
            if start < stop and begin < end
        ]
        for begin, stop in pairwise(bounds)
    ]
    return [part for part in parts if part]


def count_parts(seconds: float) -> int:
    """Returns the number of parts that so many seconds are cut into, 1 if they are not."""
    return max(1, int(seconds * FRAMES_PER_SECOND) // PART_FRAMES)


def _place(clips: Sequence[Clip], n_before: int, window: Window) -> int:
    """Returns the mel frame of the cut that has about `n_before` frames of the clips before it."""
    done = 0
    ends: list[tuple[int, int]] = []
    place = 0
    for start, end in clips:
        if done <= n_before < done + end - start:
            place = start + n_before - done
            first, last = start, end
        done += end - start
        ends.append((abs(done - n_before), end))
    distance, pause = min(ends[:-1], default=(_PAUSE_REACH_FRAMES + 1, 0))
    if distance <= _PAUSE_REACH_FRAMES:
        return pause
    return _quietest(max(first, place - _REACH_FRAMES), min(last, place + _REACH_FRAMES), window)


def _quietest(first: int, last: int, window: Window) -> int:
    """Returns the middle of the quietest moment between two frames."""
    loudness = window(first, last - first).mean(axis=0, dtype=np.float64)
    sums = np.convolve(loudness, np.ones(_QUIET_FRAMES), mode="valid")
    return first + int(sums.argmin()) + _QUIET_FRAMES // 2
