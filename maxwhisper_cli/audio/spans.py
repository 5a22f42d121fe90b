"""One recording read by several threads: spans of it are decoded, mixed and resampled at once.

Input is a recording that can be read from anywhere (`Cuttable`); output are the blocks that one
pass would give, in order. A span is resampled from 0.1 s before it to 0.1 s after it, and begins
where input and output have a sample at the same time, so that the filter meets the same samples at
the same places: the results differ by at most 1e-6, and by nothing at 16 kHz. Where anything is
unusual CutError is raised, and what was yielded is right: one pass goes on from there.

Memory: a span is at most 60 s long, and at most two more of them than threads are held.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr

from maxwhisper_cli.audio.columns import select
from maxwhisper_cli.audio.scale import LOOK_AHEAD_SECONDS, MAX_FULL_SCALE
from maxwhisper_cli.audio.stream import CutError, Cuttable, Float32

SAMPLE_RATE: Final = 16000
MIN_SECONDS: Final = 20.0
"""Length below which a recording is read in one pass."""
_MIN_SPAN_SECONDS: Final = 10
_MAX_SPAN_SECONDS: Final = 60
_MARGIN_SECONDS: Final = 0.1
_BLOCK_SAMPLES: Final = 65536
_MAX_PERIOD: Final = 1000
"""Most samples of the source until one of 16 kHz falls on one of them; 441 at 44.1 kHz."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a recording, in samples of the source."""

    start: int = 0
    end: int | None = None
    n_skipped: int = 0
    """Samples at 16 kHz that lie before it."""


WHOLE: Final = Part()


@dataclass(frozen=True, slots=True)
class SpanReader:
    """Reader of one recording."""

    cuttable: Cuttable
    sample_rate: int
    columns: int | slice | None
    """Channels to read, as `select` takes them."""
    n_channels: int
    n_threads: int
    part: Part = WHOLE

    @property
    def _period(self) -> int:
        """Samples of the source between those that fall on one of 16 kHz."""
        return self.sample_rate // math.gcd(self.sample_rate, SAMPLE_RATE)

    def part_of(self, first: int, last: int | None) -> Part:
        """Returns the part that has the samples from `first` to before `last`, at 16 kHz.

        Raises:
            CutError: All before it has to be read, since it decides how samples are scaled.
        """
        n_samples, period = self.cuttable.n_samples, self._period
        for _ in self._selected(0, min(n_samples, LOOK_AHEAD_SECONDS * self.sample_rate)):
            pass
        start = first * self.sample_rate // SAMPLE_RATE // period * period
        if period > _MAX_PERIOD or start >= n_samples:
            raise CutError
        end = n_samples
        if last is not None:
            periods = -(-last * self.sample_rate // (SAMPLE_RATE * period))
            end = min(n_samples, max(periods, start // period + 1) * period)
        return Part(start, end, start * SAMPLE_RATE // self.sample_rate)

    def blocks(self) -> Iterator[Float32]:
        """Yields the samples of a part at 16 kHz, at most four seconds at a time.

        Raises:
            CutError: The rest has to be read in one pass.
        """
        if self._period > _MAX_PERIOD:
            raise CutError
        waiting: deque[Future[Float32]] = deque()
        with ThreadPoolExecutor(self.n_threads, "span") as threads:
            try:
                for span in self._spans():
                    waiting.append(threads.submit(self._read, *span))
                    if len(waiting) >= self.n_threads + 2:
                        yield from _short_blocks(waiting.popleft().result())
                while waiting:
                    yield from _short_blocks(waiting.popleft().result())
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Yields the spans in samples of the source, each at a multiple of the period."""
        first, last = self.part.start, self.part.end
        last = self.cuttable.n_samples if last is None else last
        n_samples, rate = last - first, self.sample_rate
        n_spans = max(
            min(self.n_threads, n_samples // (_MIN_SPAN_SECONDS * rate)),
            -(-n_samples // (_MAX_SPAN_SECONDS * rate)),
            1,
        )
        start = first
        for number in range(1, n_spans + 1):  # a header may announce millions of hours
            cut = n_samples * number // n_spans // self._period * self._period
            end = last if number == n_spans else first + cut
            yield start, end
            start = end

    def _read(self, start: int, end: int) -> Float32:
        """Returns the samples at 16 kHz of one span."""
        margin = -(-round(_MARGIN_SECONDS * self.sample_rate) // self._period) * self._period
        if self.sample_rate == SAMPLE_RATE:
            margin = 0
        first, last = max(0, start - margin), min(end + margin, self.cuttable.n_samples)
        n_dropped = (start - first) * SAMPLE_RATE // self.sample_rate
        n_wanted = -(-(end - start) * SAMPLE_RATE // self.sample_rate)
        samples: Float32 | None = None
        n_filled = 0
        for block in self._resampled(first, last):
            wanted = block[n_dropped : n_dropped + n_wanted - n_filled]
            n_dropped = max(0, n_dropped - len(block))
            if samples is None:
                samples = np.empty((n_wanted, *block.shape[1:]), np.float32)
            samples[n_filled : n_filled + len(wanted)] = wanted
            n_filled += len(wanted)
        is_last = end == self.cuttable.n_samples
        if samples is None or n_filled < n_wanted - is_last:  # the last sample may be rounded off
            raise CutError
        return samples[:n_filled]

    def _resampled(self, start: int, end: int) -> Iterator[Float32]:
        if self.sample_rate == SAMPLE_RATE:
            yield from self._selected(start, end)
            return
        resampler = soxr.ResampleStream(
            self.sample_rate, SAMPLE_RATE, self.n_channels, quality="HQ"
        )
        shape: tuple[int, ...] = ()
        for block in self._selected(start, end):
            shape = block.shape[1:]
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.empty((0, *shape), np.float32), last=True)

    def _selected(self, start: int, end: int) -> Iterator[Float32]:
        for block in self.cuttable.read(start, end):
            # Integers, and what is no number, are looked at in one pass.
            if (
                not -MAX_FULL_SCALE
                <= block.min(initial=0)
                <= block.max(initial=0)
                <= MAX_FULL_SCALE
            ):
                raise CutError
            yield select(block, self.columns)


def _short_blocks(samples: Float32) -> Iterator[Float32]:
    for start in range(0, len(samples), _BLOCK_SAMPLES):
        yield samples[start : start + _BLOCK_SAMPLES]


def without_first(blocks: Iterator[Float32], n_dropped: int) -> Iterator[Float32]:
    """Yields blocks without their first samples."""
    for block in blocks:
        if len(block) > n_dropped:
            yield block[n_dropped:]
        n_dropped = max(0, n_dropped - len(block))
