"""Excerpt of a recording: its samples from a start on, so many seconds."""

from collections.abc import Iterator
from dataclasses import dataclass

from maxwhisper_cli.audio.reader import SAMPLE_RATE, Audio
from maxwhisper_cli.audio.stream import Float32


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a recording, in seconds."""

    start_seconds: float
    n_seconds: float | None = None
    """Length; None is the rest."""

    def of(self, audio: Audio) -> Iterator[Float32]:
        """Yields the samples of the excerpt; what follows it is not read, nor what lies before it.

        A file that can only be decoded from its beginning is. A warning of the recording says so if
        it ends before the excerpt begins.
        """
        first = round(self.start_seconds * SAMPLE_RATE)
        last = None if self.n_seconds is None else first + round(self.n_seconds * SAMPLE_RATE)
        at = audio.skip_to(first, last)
        for block in audio:
            start, end = at, at + len(block)
            at = end
            if end > first:
                yield block[max(0, first - start) : None if last is None else max(0, last - start)]
            if last is not None and end >= last:
                return
        if at <= first > 0:
            seconds = at / SAMPLE_RATE
            audio.warnings.append(
                f"{audio.name} ends at {seconds:.2f} s, before its excerpt begins"
            )
