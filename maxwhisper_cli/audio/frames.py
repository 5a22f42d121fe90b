"""Frames of a track as blocks of samples, with silence where the container's times have gaps.

Frames hold 10 to 100 ms, and a call into numpy costs more than their samples: consecutive frames
of one format are joined by FFmpeg first. The samples are the same.
"""

from collections.abc import Iterator
from typing import Final

from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame

from maxwhisper_cli.audio.convert import MIN_UNSAFE_PLANES, Converter, Unpacker
from maxwhisper_cli.audio.stream import Float32
from maxwhisper_cli.audio.timeline import Timed, Timeline

JOINED_SAMPLES: Final = 65536
"""Length from which on frames are not joined further."""


class FrameRun:
    """Consecutive frames of one format that wait to be joined."""

    def __init__(self) -> None:
        self.n_samples = 0
        self._fifo = AudioFifo()
        self._n_channels = 0
        self._sample_rate = 0
        self._format = ""

    def begin(self, frame: AudioFrame, *, is_converted: bool) -> None:
        """Admits the frames that follow a frame and have its format.

        Args:
            frame: Any frame; frames of many planes are never joined.
            is_converted: Its rate is converted, which delays samples: nothing is joined.
        """
        n_channels = frame.layout.nb_channels
        is_joined = n_channels < MIN_UNSAFE_PLANES and not is_converted
        self._n_channels = n_channels if is_joined else 0
        self._sample_rate, self._format = frame.sample_rate, frame.format.name
        self._fifo = AudioFifo()

    def admits(self, frame: AudioFrame) -> bool:
        """Returns True if a frame has the format of the run."""
        return (
            frame.layout.nb_channels == self._n_channels
            and frame.sample_rate == self._sample_rate
            and frame.format.name == self._format
        )

    def add(self, frame: AudioFrame) -> None:
        """Appends a frame that is admitted."""
        frame.pts = None  # the fifo allows no gap
        self._fifo.write(frame)
        self.n_samples += frame.samples

    def take(self) -> AudioFrame | None:
        """Returns what waits as one frame; None if nothing does."""
        if not self.n_samples:
            return None
        self.n_samples = 0
        joined = self._fifo.read()
        assert isinstance(joined, AudioFrame)
        return joined


class Assembler:
    """Joins the frames of a track, in the format of its first frame."""

    def __init__(self, frames: Iterator[Timed], converter: Converter, timeline: Timeline) -> None:
        self._frames = frames
        self._ahead: list[Timed] = []
        self._converter = converter
        self._timeline = timeline
        self._unpacker = Unpacker()
        self._run = FrameRun()
        self._n_read = 0

    def blocks(self) -> Iterator[Float32]:
        """Yields the samples in order, `[n_samples, n_channels]` each."""
        run, timeline, rate = self._run, self._timeline, self._converter.sample_rate
        while (timed := self._next()) is not None:
            frame, seconds = timed
            if run.admits(frame) and (
                seconds is None
                or timeline.continues(
                    seconds, frame.samples / rate, (self._n_read + run.n_samples) / rate
                )
            ):
                run.add(frame)
                if run.n_samples >= JOINED_SAMPLES:
                    yield from self._joined()
                continue
            yield from self._joined()
            yield from self._first(timed)
        yield from self._joined()
        yield self._converter.finish()

    def _next(self) -> Timed | None:
        return self._ahead.pop() if self._ahead else next(self._frames, None)

    def _peek(self) -> Timed | None:
        if not self._ahead and (following := next(self._frames, None)) is not None:
            self._ahead.append(following)
        return self._ahead[0] if self._ahead else None

    def _joined(self) -> Iterator[Float32]:
        """Yields the frames that wait, as one block."""
        if (frame := self._run.take()) is not None:
            yield self._converted(frame)

    def _first(self, timed: Timed) -> Iterator[Float32]:
        """Yields a frame that begins a run, after silence where there is a gap before it."""
        frame, seconds = timed
        if seconds is not None:
            is_confirmed = self._timeline.is_confirmed(timed, self._peek())
            position = self._n_read / self._converter.sample_rate
            gap = self._timeline.gap(seconds, position) if is_confirmed else 0.0
            for silence in self._converter.silence(gap):
                self._n_read += len(silence)
                yield silence
        self._timeline.move(timed)
        yield self._converted(frame)
        self._run.begin(frame, is_converted=not self._converter.is_idle(frame.sample_rate))

    def _converted(self, frame: AudioFrame) -> Float32:
        block = self._converter.convert(self._unpacker.to_float32(frame), frame.sample_rate)
        self._n_read += len(block)
        return block
