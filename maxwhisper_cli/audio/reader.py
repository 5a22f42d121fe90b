"""Any recording as float32 samples at 16 kHz, mono or split, in blocks, with bounded memory.

| input | result |
| --- | --- |
| a missing file, a folder, no permission, 0 bytes | AudioError |
| text, an image, a program, random bytes, a playlist; a video without sound | AudioError |
| a channel that is not there, a single channel to split | AudioError, with how many there are |
| a wrong extension | read by content |
| a headerless format (g722, gsm, ...) | read by its extension: any bytes but text are audio |
| a header and no samples | no blocks, and a warning: the transcript is empty |
| silence, 10 ms | read like anything else |
| cut off or damaged | what can be decoded, and a warning |
| wrong sizes in the header; several recordings in one file | all that is there |
| a track that begins late or has gaps | silence there: times are the container's |
| floats in the range of integers | divided by their full scale, and a warning |
| NaN, Inf or absurd sample values | silence in their place, and a warning with the first second |
| beyond full scale (float) | unchanged: Whisper's log scale does not clip |

Broken samples do not stop the reading, because the rest of a long recording is valuable; they
are always reported. A 16 kHz mono 16-bit wav gives exactly what openai-whisper's loader gives.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import numpy as np
import soxr

from implementations.processor_threads import available_threads
from maxwhisper_cli.audio.array import from_samples
from maxwhisper_cli.audio.columns import Channel, columns_of, select
from maxwhisper_cli.audio.decode import Track, decode
from maxwhisper_cli.audio.options import ReadingOptions
from maxwhisper_cli.audio.raw import RawFormat, decode_raw
from maxwhisper_cli.audio.scale import (
    LOOK_AHEAD_SECONDS,
    MAX_FULL_SCALE,
    refuse_integers,
    scale_to_one,
)
from maxwhisper_cli.audio.source import (
    AudioSource,
    GuardedFile,
    open_file,
    read_error,
    to_samples,
)
from maxwhisper_cli.audio.spans import (
    MIN_SECONDS,
    SAMPLE_RATE,
    WHOLE,
    Part,
    SpanReader,
    without_first,
)
from maxwhisper_cli.audio.stream import (
    AudioError,
    CutError,
    DecodedStream,
    Float32,
)
from maxwhisper_cli.audio.thread import BlocksAhead
from weights.closing import Closing

__all__ = [
    "SAMPLE_RATE",
    "Audio",
    "AudioError",
    "AudioSource",
    "Channel",
    "RawFormat",
    "ReadingOptions",
    "open_audio",
]

_BLOCK_SAMPLES = 65536
_MAX_SAMPLE = 1e12  # its square, summed over a frame, is still a float32


class Audio(Closing):
    """Recording that is being read: iterate once over its blocks; a context manager."""

    name: str
    """Name of the recording in messages."""
    seconds: float | None
    """Length as announced, before anything is read; None if the source announces none."""
    sample_rate: int
    """Sample rate of the source; the blocks are at 16 kHz."""
    n_channels: int
    """Channels of the source."""
    warnings: list[str]
    """Messages about missing or damaged audio; complete once the last block is read."""
    n_threads: int = 0
    """Threads that read a long recording; 0 is as many as can run at a time."""
    _part: Part = WHOLE

    def __init__(
        self,
        name: str,
        stream: DecodedStream,
        columns: int | slice | None,
        *,
        warnings: list[str],
        resources: ExitStack,
        guard: GuardedFile | None = None,
    ) -> None:
        self.name = name
        self.seconds = stream.seconds
        self.sample_rate = stream.sample_rate
        self.n_channels = stream.n_channels
        self.warnings = warnings
        self._columns = columns
        self._shape = (self.n_channels,) if isinstance(columns, slice) else ()
        """Shape of a sample."""
        self._stream = stream
        self._resources = resources
        self._guard = guard

    def __iter__(self) -> Iterator[Float32]:
        """Yields blocks at 16 kHz, each at most a few seconds long.

        They are `[n_samples]`, or `[n_samples, n_channels]` with channel `split`.

        Raises:
            AudioError: The samples cannot be resampled to 16 kHz, or the file cannot be read on.
        """
        n_read = self._part.n_skipped
        try:
            for block in self._by_spans():
                n_read += len(block)
                yield block
        except CutError:  # one pass gives the same samples, and knows what to say of the others
            yield from without_first(self._resampled(), n_read)
        if self._guard is not None and self._guard.error is not None:
            raise self._guard.error

    def skip_to(self, first: int, last: int | None) -> int:
        """Leaves out what lies before and behind a part, where the file can be read from anywhere.

        Args:
            first: First sample of the part, at 16 kHz.
            last: Sample behind it; None is the end.

        Returns:
            The sample at which the blocks begin now, at most `first`.
        """
        with suppress(CutError):
            self._part = self._span_reader().part_of(first, last)
        return self._part.n_skipped

    def _by_spans(self) -> Iterator[Float32]:
        """Yields the samples that several threads read; raises CutError where one pass has to."""
        yield from self._span_reader().blocks()

    def _span_reader(self) -> SpanReader:
        cuttable = self._stream.cuttable() if self._is_long else None
        if cuttable is None or cuttable.n_samples < MIN_SECONDS * self.sample_rate:
            raise CutError
        n_columns = self._shape[0] if self._shape else 1
        form = cuttable, self.sample_rate, self._columns, n_columns
        return SpanReader(*form, self._n_threads, self._part)

    def _resampled(self) -> Iterator[Float32]:
        if self.sample_rate == SAMPLE_RATE:
            yield from self._selected()
            return
        try:
            resampler = soxr.ResampleStream(
                self.sample_rate, SAMPLE_RATE, *self._shape or (1,), quality="HQ"
            )
        except (RuntimeError, ValueError) as error:
            raise AudioError(
                f"{self.name} has a sample rate of {self.sample_rate} Hz, which cannot be "
                f"resampled to {SAMPLE_RATE} Hz: {error}"
            ) from error
        for block in self._selected():
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(self._no_samples(), last=True)

    def read(self) -> Float32:
        """Returns all samples at 16 kHz, in the shape of the blocks."""
        return np.concatenate([self._no_samples(), *self])

    def close(self) -> None:
        """Closes what `open_audio` opened; a caller's file object stays open."""
        self._resources.close()

    def _no_samples(self) -> Float32:
        return np.empty((0, *self._shape), np.float32)

    def _decoded(self) -> Iterator[Float32]:
        """Returns the stream's blocks; a thread decodes those of a long file."""
        blocks = _join_blocks(self._stream.blocks)
        is_own = self._guard is None  # a caller's object stays in the caller's thread
        if self._n_threads == 1 or not (self._stream.is_costly and self._is_long and is_own):
            return blocks
        ahead = BlocksAhead(blocks)
        self._resources.callback(ahead.close)
        return iter(ahead)

    @property
    def _n_threads(self) -> int:
        return self.n_threads or available_threads()

    @property
    def _is_long(self) -> bool:
        return self.seconds is None or self.seconds >= MIN_SECONDS

    def _selected(self) -> Iterator[Float32]:
        n_read = n_broken = 0
        first_broken = 0.0
        blocks = self._decoded()
        for block in scale_to_one(blocks, self.sample_rate, self.name, self.warnings.append):
            lowest, highest = block.min(initial=0), block.max(initial=0)
            if not -MAX_FULL_SCALE <= lowest <= highest <= MAX_FULL_SCALE:  # true of NaN as well
                if n_read >= LOOK_AHEAD_SECONDS * self.sample_rate:
                    refuse_integers(block, self.name)
                broken = ~(np.abs(block) < _MAX_SAMPLE)
                if not n_broken and broken.any():
                    first_broken = (n_read + broken.any(axis=1).argmax()) / self.sample_rate
                n_broken += int(broken.sum())
                block = np.where(broken, np.float32(0), block)  # noqa: PLW2901
            n_read += len(block)
            yield select(block, self._columns)
        if n_broken:
            self.warnings.append(
                f"{self.name}: samples that are not numbers or far out of range, the first "
                f"at {first_broken:.2f} s: {n_broken:,}; they were replaced by silence"
            )
        if not n_read:
            self.warnings.append(f"{self.name} holds no sound: its length is zero")


def open_audio(
    source: AudioSource,
    channel: Channel = "mix",
    *,
    sample_rate: float | None = None,
    audio_track: Track = None,
    raw: RawFormat | None = None,
) -> Audio:
    """Opens a recording; errors in its samples are raised while iterating.

    Args:
        source: A path, `"-"` for standard input, the content of a file, a binary file object
            (copied to a temporary file if it cannot seek), or mono samples.
        channel: `"mix"`, `"left"`, `"right"`, `"split"` or a number from 1 on.
        sample_rate: Rate of samples in an array, in Hz; None is 16 kHz.
        audio_track: Number of an audio track, from 1 on, or its language; None is the default.
        raw: Format of a file without a header.

    Raises:
        AudioError: The source has no readable audio; the module's table lists the cases.
    """
    warnings: list[str] = []
    with ExitStack() as resources:
        opened = open_file(source, resources)
        guard = None
        if opened is None:
            name, stream = "the array", from_samples(to_samples(source), sample_rate)
        else:
            name, file = opened
            if sample_rate is not None:
                raise AudioError(f"{name} has a sample rate of its own: sample_rate is for arrays")
            guard = file if isinstance(file, GuardedFile) else None
            try:
                if raw is not None:
                    stream = decode_raw(file, name, raw)
                else:
                    stream = decode(file, name, warnings.append, audio_track)
            except AudioError:
                if guard is not None and guard.error is not None:
                    raise guard.error from None
                raise
            except OSError as error:
                raise read_error(name, error) from error
            resources.callback(stream.close)
        columns = columns_of(channel, stream.n_channels, name)
        return Audio(
            name, stream, columns, warnings=warnings, resources=resources.pop_all(), guard=guard
        )


def _join_blocks(blocks: Iterator[Float32]) -> Iterator[Float32]:
    """Joins short blocks, to reduce the cost per block of the following steps."""
    pending: list[Float32] = []
    n_pending = 0
    for block in blocks:
        pending.append(block)
        n_pending += len(block)
        if n_pending >= _BLOCK_SAMPLES:
            yield np.concatenate(pending) if len(pending) > 1 else block
            pending, n_pending = [], 0
    if pending:
        yield np.concatenate(pending)
