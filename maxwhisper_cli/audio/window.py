"""A part of a file that can be read as a separate file, optionally with another header."""

import os
import stat
from io import FileIO, RawIOBase
from pathlib import Path
from typing import IO, Any

from maxwhisper_cli.audio.stream import AudioError

_MAX_POSITION = 2**63 - 1
"""Largest position that the system counts; a damaged header may point beyond."""


class FileWindow(RawIOBase):
    """File of given bytes, then `file[start:end]`; closing it leaves the original open."""

    def __init__(self, file: IO[bytes], start: int, end: int, *, header: bytes = b"") -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._header = header
        self._n_bytes = len(header) + max(0, end - start)
        self._position = 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Moves the position, and returns it."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._n_bytes}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  (any writable buffer)
        """Fills a buffer by one read; returns the number of bytes."""
        n_bytes = min(len(buffer), self._n_bytes - self._position)
        if n_bytes <= 0:
            return 0
        if self._position < len(self._header):
            data = self._header[self._position : self._position + n_bytes]
        else:
            self._file.seek(self._start + self._position - len(self._header))
            data = self._file.read(n_bytes) or b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def read_at(file: IO[bytes], position: int, n_bytes: int) -> bytes:
    """Returns up to `n_bytes` from a position on; none beyond what a file can be."""
    if position > _MAX_POSITION:
        return b""
    file.seek(position)
    data = file.read(n_bytes) or b""
    _raise_error_of(file)
    return data


def n_bytes_of(file: IO[bytes]) -> int:
    """Returns the size of a seekable file."""
    n_bytes = file.seek(0, os.SEEK_END)
    _raise_error_of(file)
    return n_bytes


def path_of(file: IO[bytes]) -> str | None:
    """Returns a path by which an open file can be opened again; None if there is none."""
    if not isinstance(file, FileIO):
        return None
    try:
        status = os.fstat(file.fileno())
        is_regular = stat.S_ISREG(status.st_mode)
        for name in (file.name, f"/proc/self/fd/{file.fileno()}") if is_regular else ():
            path = Path(name) if isinstance(name, str) else None
            if path is not None and path.exists() and os.path.samestat(path.stat(), status):
                return str(path.absolute())
    except (OSError, ValueError):
        pass
    return None


def _raise_error_of(file: IO[bytes]) -> None:
    """Raises the stored error of a `GuardedFile`."""
    error = getattr(file, "error", None)
    if isinstance(error, AudioError):
        raise error
