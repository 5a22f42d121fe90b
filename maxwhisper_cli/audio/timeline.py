"""Positions of a track's pieces on the timeline of its container."""

from typing import Final

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer

from maxwhisper_cli.audio.stream import Warn

Timed = tuple[AudioFrame, float | None]
"""A frame and its time in the container, in seconds; None if it has none, or it does not count."""

WITH_TIMES: Final = frozenset({"matroska", "mov", "asf", "flv", "mpegts", "mpeg", "ogg", "nut"})
"""Containers whose packets carry times, by the first of FFmpeg's names."""
FROM_ZERO: Final = frozenset({"matroska", "mov", "asf", "nut", "avi"})
"""Containers whose times count from the start of the recording."""
_MIN_GAP_SECONDS: Final = 0.1
"""Smallest gap; smaller ones come from rounded times and imprecise clocks."""
_SUDDEN_SECONDS: Final = 1.0
"""Smallest gap that the next piece must confirm, since single damaged times exist."""
_JUMPING: Final = frozenset({"mpegts", "mpeg", "flv", "ogg"})
"""Containers whose times may restart, where broadcasts or files were joined."""
_MAX_JUMP_SECONDS: Final = 10.0  # FFmpeg's own limit for those
_SLACK_SECONDS: Final = 60.0
_MIN_BYTES_PER_SECOND: Final = 8
"""Fewest bytes of any container for a second of its duration; one that says less is damaged."""


class Timeline:
    """Detector of gaps, which are filled with silence."""

    def __init__(self, container: InputContainer, kind: str, name: str, warn: Warn) -> None:
        start = (container.start_time or 0) / av.time_base
        self._end = None if container.duration is None else container.duration / av.time_base
        # The times of a segment that was cut out of a longer recording begin anywhere.
        is_segment = kind in _JUMPING or self._end is None or not 0 <= start < self._end
        self._origin = start if is_segment else 0.0
        if self._end is not None and container.size > 0:  # else it comes from a pipe
            self._end = min(self._end, container.size / _MIN_BYTES_PER_SECOND)
        self._kind = kind
        self._last_end: float | None = None
        self._name = name
        self._warn = warn

    def continues(self, seconds: float, frame_seconds: float, position: float) -> bool:
        """Returns True for a piece with nothing to insert before it, and notes it as the last.

        Args:
            seconds: Time of the piece.
            frame_seconds: Its length.
            position: Seconds of sound before it.
        """
        end = self._last_end
        if (
            end is None
            or not -_SUDDEN_SECONDS < seconds - end < _SUDDEN_SECONDS
            or not -_SUDDEN_SECONDS <= seconds - self._origin - position < _MIN_GAP_SECONDS
        ):
            return False
        self._last_end = seconds + frame_seconds
        return True

    def move(self, timed: Timed) -> None:
        """Notes a piece as the last one."""
        frame, seconds = timed
        if seconds is not None:
            self._last_end = seconds + frame.samples / frame.sample_rate

    def gap(self, seconds: float, position: float) -> float:
        """Returns the seconds of silence to insert before a piece at a position."""
        gap = seconds - self._origin - position
        if gap < -_SUDDEN_SECONDS:  # another recording begins here
            self._origin = seconds - position
            return 0.0
        if gap < _MIN_GAP_SECONDS:
            return 0.0
        if gap > self._max_gap(position):
            self._warn(
                f"{self._name}: its times jump by {gap:,.1f} s at {position:.1f} s; "
                "what follows was joined without a pause"
            )
            self._origin = seconds - position
            return 0.0
        return gap

    def is_confirmed(self, current: Timed, following: Timed | None) -> bool:
        """Returns False for a time that neither the last piece nor the next one confirms."""
        frame, seconds = current
        if seconds is None or self._last_end is None or following is None:
            return True
        if abs(seconds - self._last_end) < _SUDDEN_SECONDS:
            return True
        end = seconds + frame.samples / frame.sample_rate
        return following[1] is None or abs(following[1] - end) < _SUDDEN_SECONDS

    def _max_gap(self, position: float) -> float:
        if self._kind in _JUMPING and position > 0:
            return _MAX_JUMP_SECONDS
        if self._end is None:
            return _SLACK_SECONDS
        return max(self._end - position + _SLACK_SECONDS, _MIN_GAP_SECONDS)
