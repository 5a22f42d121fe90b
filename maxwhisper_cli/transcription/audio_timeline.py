"""Positions of a track's pieces on the timeline of its container."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer

from maxwhisper_cli.transcription.audio_stream import Warn

_MIN_GAP_SECONDS: Final = 0.1
"""Smallest gap; smaller ones come from rounded times and imprecise clocks."""
_SUDDEN_SECONDS: Final = 1.0
"""Smallest gap that the next piece must confirm, since single damaged times exist."""
_JUMPING: Final = frozenset({"mpegts", "mpeg", "flv", "ogg"})
"""Containers whose times may restart, where broadcasts or files were joined."""
_MAX_JUMP_SECONDS: Final = 10.0  # FFmpeg's own limit for those
_SLACK_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Timed:
    """A piece of decoded audio with its time in the container, if it has one."""

    frame: AudioFrame
    seconds: float | None

    @property
    def end(self) -> float | None:
        """End in the container's time."""
        if self.seconds is None:
            return None
        return self.seconds + self.frame.samples / self.frame.sample_rate


class Timeline:
    """Detector of gaps, which are filled with silence."""

    def __init__(self, container: InputContainer, kind: str, name: str, warn: Warn) -> None:
        start = (container.start_time or 0) / av.time_base
        self._end = None if container.duration is None else container.duration / av.time_base
        # The times of a segment that was cut out of a longer recording begin anywhere.
        is_segment = kind in _JUMPING or self._end is None or not 0 <= start < self._end
        self._origin = start if is_segment else 0.0
        self._kind = kind
        self._name = name
        self._warn = warn

    def gap(self, timed: Timed, position: float) -> float:
        """Returns the seconds of silence to insert before a piece at a position."""
        if timed.seconds is None:
            return 0.0
        gap = timed.seconds - self._origin - position
        if gap < -_SUDDEN_SECONDS:  # another recording begins here
            self._origin = timed.seconds - position
            return 0.0
        if gap < _MIN_GAP_SECONDS:
            return 0.0
        if gap > self._max_gap(position):
            self._warn(
                f"{self._name}: its times jump by {gap:,.1f} s at {position:.1f} s; "
                "what follows was joined without a pause"
            )
            self._origin = timed.seconds - position
            return 0.0
        return gap

    def confirm(self, pieces: Iterator[Timed]) -> Iterator[Timed]:
        """Yields the pieces; a time that neither neighbour confirms is dropped."""
        previous_end: float | None = None
        current = next(pieces, None)
        while current is not None:
            following = next(pieces, None)
            yield self._confirmed(previous_end, current, following)
            previous_end = current.end if current.end is not None else previous_end
            current = following

    def _confirmed(
        self, previous_end: float | None, current: Timed, following: Timed | None
    ) -> Timed:
        if current.end is None or previous_end is None or following is None:
            return current
        if abs((current.seconds or 0.0) - previous_end) < _SUDDEN_SECONDS:
            return current
        if following.seconds is None or abs(following.seconds - current.end) < _SUDDEN_SECONDS:
            return current
        return Timed(current.frame, None)

    def _max_gap(self, position: float) -> float:
        if self._kind in _JUMPING and position > 0:
            return _MAX_JUMP_SECONDS
        if self._end is None:
            return _SLACK_SECONDS
        return max(self._end - position + _SLACK_SECONDS, _MIN_GAP_SECONDS)
