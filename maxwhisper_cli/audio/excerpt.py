"""Excerpt of a recording: its samples from a start on, so many seconds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from maxwhisper_cli.audio.spans import SAMPLE_RATE
from maxwhisper_cli.audio.stream import Float32, Warn


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a recording, in seconds."""

    start_seconds: float
    n_seconds: float | None = None
    """Length; None is the rest."""

    def of(self, blocks: Iterable[Float32], name: str, warn: Warn) -> Iterator[Float32]:
        """Yields the samples of the excerpt; what follows it is not read.

        Args:
            blocks: Samples of the whole recording at 16 kHz, `[n_samples, ...]` each.
            name: Name of the recording.
            warn: Called if it ends before the excerpt begins.
        """
        first = round(self.start_seconds * SAMPLE_RATE)
        last = None if self.n_seconds is None else first + round(self.n_seconds * SAMPLE_RATE)
        at = 0
        for block in blocks:
            start, end = at, at + len(block)
            at = end
            if end > first:
                yield block[max(0, first - start) : None if last is None else max(0, last - start)]
            if last is not None and end >= last:
                return
        if at <= first > 0:
            warn(f"{name} ends at {at / SAMPLE_RATE:.2f} s, before its excerpt begins")
