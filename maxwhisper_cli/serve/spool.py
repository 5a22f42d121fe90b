"""Uploads on disk: one unnamed file each, in a folder with a limit on what all of them take.

The files have no name, so that none is left behind, however the server ends.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

from maxwhisper_cli.serve.errors import ApiError, unavailable
from weights.closing import Closing
from weights.errors import MaxWhisperError


class SpoolError(MaxWhisperError):
    """The folder for uploads cannot be used."""


class Spool:
    """Folder of uploads."""

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        """Checks that files can be made there.

        Args:
            folder: The folder; None is the system's for temporary files.
            max_bytes: Most bytes of all uploads at a time.

        Raises:
            SpoolError: No file can be made there.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._lock = Lock()
        try:
            self._open().close()
        except OSError as error:
            where = folder or "the folder for temporary files"
            raise SpoolError(
                f"uploads cannot be kept in {where}: {error.strerror or error}; "
                "name another with --spool-dir"
            ) from error

    @property
    def n_bytes(self) -> int:
        """Bytes of all uploads now."""
        return self._n_bytes

    def new(self) -> "Upload":
        """Opens a file for an upload.

        Raises:
            ApiError: The system opens no more.
        """
        try:
            return Upload(self._open(), self)
        except OSError as error:
            raise no_place(error) from error

    def _open(self) -> IO[bytes]:
        return TemporaryFile(dir=self._folder, buffering=0)

    def take(self, n_bytes: int) -> None:
        """Reserves bytes.

        Raises:
            ApiError: They do not fit beside those of other uploads.
        """
        with self._lock:
            if self._n_bytes + n_bytes > self._max_bytes:
                raise unavailable(
                    "the server has no place for this upload beside those of others; try again",
                    retry_after=5,
                )
            self._n_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Ends a reservation."""
        with self._lock:
            self._n_bytes -= n_bytes


@dataclass(slots=True)
class Upload(Closing):
    """An upload; a context manager that removes it."""

    file: IO[bytes]
    spool: Spool
    n_bytes: int = 0
    name: str = ""
    """File name that the client gave; never used as a path."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends bytes.

        Raises:
            ApiError: There is no place for them.
        """
        self.spool.take(len(data))
        self.n_bytes += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[self.file.write(view) :]
        except OSError as error:
            raise no_place(error) from error

    def close(self) -> None:
        """Removes the file; harmless when repeated."""
        if not self.file.closed:
            self.file.close()
            self.spool.give_back(self.n_bytes)


def no_place(error: OSError) -> ApiError:
    """Returns the error of a disk that takes no more."""
    reason = os.strerror(error.errno) if error.errno else "it failed"
    return unavailable(f"the upload cannot be kept on the server: {reason}", retry_after=30)
