"""Clips of a recording to transcribe: the user's, and of these the parts with speech.

All numbers are mel frames of 10 ms. Speech is found elsewhere.
"""

from collections.abc import Iterator, Sequence

from maxwhisper_cli.transcription.mel import FRAMES_PER_SECOND, N_FRAMES, Clip


def clips_of(
    clip_timestamps: Sequence[float], n_content_frames: int, speech: Sequence[Clip] | None
) -> list[Clip]:
    """Returns the clips to transcribe within the recording, in the user's order.

    Args:
        clip_timestamps: Start, end, start, end, ... in seconds; a missing last end is the
            recording's. None at all is the whole recording.
        n_content_frames: Length of the recording.
        speech: Parts with speech, in order; None if all of it counts.
    """
    points = [round(at * FRAMES_PER_SECOND) for at in clip_timestamps or (0.0,)]
    if len(points) % 2:
        points.append(n_content_frames)
    chosen = [
        (start, min(end, n_content_frames))
        for start, end in zip(points[::2], points[1::2], strict=True)
    ]
    return chosen if speech is None else list(_intersections(chosen, speech))


def language_windows(clips: Sequence[Clip], n_windows: int) -> list[int]:
    """Returns the first frame of each window to detect the language from.

    The windows of 30 s begin in a clip, one behind the other, and may reach beyond its end.

    Args:
        clips: Clips in order.
        n_windows: Largest number of windows.
    """
    starts: list[int] = []
    free = 0
    for start, end in clips:
        for at in range(max(start, free), end, N_FRAMES):
            starts.append(at)
            free = at + N_FRAMES
    return starts[:n_windows]


def _intersections(clips: Sequence[Clip], speech: Sequence[Clip]) -> Iterator[Clip]:
    """Yields the parts of each clip with speech; both are in order and may be many."""
    first = 0
    for start, end in clips:
        while first < len(speech) and speech[first][1] <= start:
            first += 1
        for index in range(first, len(speech)):
            if speech[index][0] >= end:
                break
            yield max(start, speech[index][0]), min(end, speech[index][1])
