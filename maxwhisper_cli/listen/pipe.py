"""Live audio from a pipe: raw samples, or any container that can be read from front to back."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import soundfile

from maxwhisper_cli.audio.columns import select
from maxwhisper_cli.audio.raw import RAW_ENCODINGS, RawFormat
from maxwhisper_cli.audio.stream import AudioError, Float32
from maxwhisper_cli.listen.source import LiveBlocks, ThreadedSource

if TYPE_CHECKING:
    from maxwhisper_cli.audio.pipe import PipeStream

_READ_BYTES: Final = 65536
_SAMPLE_BYTES: Final = {"8": 1, "16": 2, "24": 3, "32": 4, "64": 8}
_LAWS: Final = frozenset({"mulaw", "alaw"})


def open_pipe(source: str, raw: RawFormat | None, warn: Callable[[str], None]) -> ThreadedSource:
    """Opens standard input, a named pipe or a file, and reads it from front to back.

    Args:
        source: `-` or a path.
        raw: Format of samples without a header; None finds a container's own.
        warn: Called with a message about damage.

    Raises:
        AudioError: It does not exist, or may not be read.
    """
    if source == "-":
        name, descriptor = "standard input", sys.stdin.fileno()
    else:
        name, descriptor = source, _open(Path(source))
    is_live = not stat.S_ISREG(os.fstat(descriptor).st_mode)
    return ThreadedSource(name, lambda: open_blocks(descriptor, name, raw, warn), is_live=is_live)


def _open(path: Path) -> int:
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder: name a file or a pipe")
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise AudioError(f"{path} does not exist: check its name and folder") from error
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error


def open_blocks(
    descriptor: int, name: str, raw: RawFormat | None, warn: Callable[[str], None]
) -> LiveBlocks:
    """Opens the audio of a file; waits for the format of a container.

    Args:
        descriptor: Number of the open file, which stays open.
        name: Name in messages.
        raw: Format of samples without a header; None finds a container's own.
        warn: Called with a message about damage.

    Raises:
        AudioError: It is neither audio nor video, is empty, or cannot be read; so do the blocks.
    """
    with _named_errors(name):
        if raw is None:
            live = _container_blocks(descriptor, name, warn)
        else:
            live = LiveBlocks(raw.sample_rate, _raw_blocks(descriptor, name, raw))
    return LiveBlocks(live.sample_rate, _with_named_errors(live.blocks, name))


def _with_named_errors(blocks: Iterator[Float32], name: str) -> Iterator[Float32]:
    with _named_errors(name):
        yield from blocks


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise AudioError(f"{name} cannot be read: {reason}") from error


def _raw_blocks(descriptor: int, name: str, raw: RawFormat) -> Iterator[Float32]:
    """Yields the mean of the channels; bytes that are no whole sample wait for the rest."""
    digits = "".join(letter for letter in raw.encoding if letter.isdigit())
    n_bytes = raw.n_channels * (1 if raw.encoding in _LAWS else _SAMPLE_BYTES[digits])
    waiting, is_empty = b"", True
    while data := os.read(descriptor, _READ_BYTES):
        waiting += data
        n_whole = len(waiting) // n_bytes * n_bytes
        if n_whole == 0:
            continue
        samples = raw_samples(waiting[:n_whole], raw)
        waiting, is_empty = waiting[n_whole:], False
        yield select(samples, None if raw.n_channels > 1 else 0)
    if is_empty:
        raise AudioError(f"{name} is empty: nothing was written to it")


def raw_samples(data: bytes, raw: RawFormat) -> Float32:
    """Returns whole samples of a raw format as floats, [n_samples, n_channels]."""
    subtype, endian = RAW_ENCODINGS[raw.encoding]
    samples, _ = soundfile.read(
        io.BytesIO(data),
        dtype="float32",
        always_2d=True,
        samplerate=raw.sample_rate,
        channels=raw.n_channels,
        format="RAW",
        subtype=subtype,
        endian=endian,
    )
    floats: Float32 = samples
    return floats


def _container_blocks(descriptor: int, name: str, warn: Callable[[str], None]) -> LiveBlocks:
    from maxwhisper_cli.audio.pipe import decode_pipe

    file = io.FileIO(descriptor, closefd=False)
    first = file.read(1)
    if not first:
        raise AudioError(f"{name} is empty: nothing was written to it")
    try:
        stream = decode_pipe(_Rest(first, file), name, warn)
    except AudioError as error:
        raise AudioError(f"{error}; samples without a header need --raw-format") from error
    return LiveBlocks(stream.sample_rate, _mono_blocks(stream))


def _mono_blocks(stream: "PipeStream") -> Iterator[Float32]:
    with closing(stream):
        for block in stream.blocks:
            yield select(block, None)


class _Rest(io.RawIOBase):
    """A pipe of which the first bytes were read already; it cannot seek."""

    def __init__(self, first: bytes, file: io.FileIO) -> None:
        super().__init__()
        self._first = first
        self._file = file

    def readable(self) -> bool:
        """Returns True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Returns some bytes, as soon as there are any; none at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return self._file.read(size)
