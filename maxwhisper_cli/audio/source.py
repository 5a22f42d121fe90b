"""Sources of audio: paths, bytes, file objects and arrays, each checked and made uniform.

| source | taken as |
| --- | --- |
| str, os.PathLike, bytes of a name | a path; `"-"` is standard input |
| bytes, bytearray, memoryview | the content of a file |
| an object with `read` | a file; copied to a temporary one if it cannot seek |
| numpy array, torch tensor, array.array, list, tuple | mono samples; integers by their full scale |
| anything else | AudioError |
"""

import io
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from maxwhisper_cli.audio.stream import AudioError

_COPIED_BYTES: Final = 2**20
_MAX_PATH_BYTES: Final = 4096
_INTEGER_BITS: Final = (16, 32, 64)


@runtime_checkable
class Readable(Protocol):
    """Binary file object; all other methods of files are optional."""

    def read(self, n_bytes: int, /) -> bytes:
        """Returns up to `n_bytes`, empty at the end."""


AudioSource = str | bytes | bytearray | memoryview | os.PathLike[str] | Readable | npt.ArrayLike
"""Path, `"-"` for standard input, content of a file, binary file object, or mono samples."""


class GuardedFile(io.RawIOBase):
    """A caller's file object, whose errors are stored and raised later.

    Libraries in C call it back; an exception would be printed there, and lost.
    """

    def __init__(self, file: Any, name: str) -> None:  # noqa: ANN401  (anything may be given)
        super().__init__()
        self._file = file
        self._name = name
        self.error: AudioError | None = None

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Moves the position, and returns it."""
        try:
            self._file.seek(offset, whence)
            return int(self._file.tell())
        except Exception as error:  # noqa: BLE001  (a stranger's object may raise anything)
            self.error = self.error or read_error(self._name, error)
            return 0

    def tell(self) -> int:
        """Returns the position."""
        return self.seek(0, os.SEEK_CUR)

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  (any writable buffer)
        """Fills a buffer up to the end of the file; returns the number of bytes."""
        n_read = 0
        try:
            while n_read < len(buffer) and (data := self._file.read(len(buffer) - n_read)):
                buffer[n_read : n_read + len(data)] = data
                n_read += len(data)
        except Exception as error:  # noqa: BLE001  (a stranger's object may raise anything)
            self.error = self.error or read_error(self._name, error)
        return n_read


def read_error(name: str, error: Exception) -> AudioError:
    """Returns the error for a file that cannot be read."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return AudioError(f"{name} cannot be read: {reason}")


def open_file(source: object, resources: ExitStack) -> tuple[str, IO[bytes]] | None:
    """Opens a path, bytes or a file object as a file that can seek, at its start.

    Args:
        source: Anything.
        resources: Closes what was opened.

    Returns:
        Name and file; None if the source is none of these.

    Raises:
        AudioError: It cannot be opened or read.
    """
    path = _path_of(source)
    if path == "-":
        return "standard input", _open_object(_standard_input(), "standard input", resources)
    if path is not None:
        file = resources.enter_context(_open_path(path))
        return path, _open_object(file, path, resources)
    if isinstance(source, bytes | bytearray) or _is_byte_view(source):
        return "the bytes", io.BytesIO(source)  # type: ignore[arg-type]
    if callable(getattr(source, "read", None)) and not isinstance(source, type):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else "the stream"
        return name, _open_object(source, name, resources)
    return None


def to_samples(source: object) -> npt.NDArray[np.floating]:
    """Returns mono samples, `[n_samples]` floats with a full scale of -1 to 1.

    Raises:
        AudioError: The source is no array of numbers, or has more than one channel.
    """
    given = type(source).__name__
    try:
        array = np.asarray(_without_torch(source))
    except Exception as error:
        raise AudioError(f"{given} is no source of sound: {error}") from error
    is_number = array.dtype.kind in "fiu"
    if not is_number or array.ndim == 0:
        of = f" of {array.dtype}" if array.ndim else ""
        raise AudioError(
            f"{given}{of} is no source of sound: give a path, the bytes of a file, "
            "an open binary file, or mono samples"
        )
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise AudioError(
            f"an array of shape {array.shape} and type {array.dtype} is not mono sound: "
            "give one channel, in one dimension"
        )
    return array if array.dtype.kind == "f" else _scale_integers(array)


def _path_of(source: object) -> str | None:
    if isinstance(source, str):
        return source
    if isinstance(source, bytes):
        is_name = 0 < len(source) < _MAX_PATH_BYTES and b"\0" not in source
        return os.fsdecode(source) if is_name else None
    if isinstance(source, os.PathLike):
        try:
            return os.fsdecode(source)
        except Exception as error:
            raise AudioError(f"{type(source).__name__} is no path: {error}") from error
    return None


def _open_path(path: str) -> io.FileIO:
    try:
        return Path(path).open("rb", buffering=0)
    except FileNotFoundError as error:
        raise AudioError(f"{path} does not exist: check its name and folder") from error
    except IsADirectoryError as error:
        raise AudioError(f"{path} is a folder: name the files in it") from error
    except PermissionError as error:
        raise AudioError(f"{path} may not be read: change its permissions") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{path} cannot be opened: {error}") from error


def _standard_input() -> IO[bytes]:
    if sys.stdin is None:
        raise AudioError("standard input is closed: name a file")
    return sys.stdin.buffer


def _is_byte_view(source: object) -> bool:
    return isinstance(source, memoryview) and source.format in {"B", "b", "c"}


def _open_object(file: Any, name: str, resources: ExitStack) -> IO[bytes]:  # noqa: ANN401
    """Returns a seekable file: the object itself, guarded, or a copy of its content."""
    if isinstance(file, io.TextIOBase):
        raise AudioError(f"{name} is open as text: open it in binary mode")
    try:
        if _can_seek(file):
            file.seek(0)
            is_plain = isinstance(file, io.FileIO | io.BytesIO)
            return file if is_plain else GuardedFile(file, name)  # type: ignore[return-value]
        return _copy(file, name, resources)
    except AudioError:
        raise
    except Exception as error:
        raise read_error(name, error) from error


def _can_seek(file: Any) -> bool:  # noqa: ANN401
    if hasattr(file, "seekable"):
        return bool(file.seekable())
    return hasattr(file, "seek") and hasattr(file, "tell")


def _copy(file: Any, name: str, resources: ExitStack) -> IO[bytes]:  # noqa: ANN401
    try:
        copy = resources.enter_context(TemporaryFile(buffering=0))  # noqa: SIM115
    except OSError as error:
        raise _no_room(name, error) from error
    while data := file.read(_COPIED_BYTES):
        if isinstance(data, str):
            raise AudioError(f"{name} is open as text: open it in binary mode")
        view = memoryview(data)
        try:
            while view:
                view = view[copy.write(view) :]
        except OSError as error:
            raise _no_room(name, error) from error
    copy.seek(0)
    return copy


def _no_room(name: str, error: OSError) -> AudioError:
    return AudioError(
        f"{name} cannot be kept in a temporary file ({error.strerror or error}): "
        "make room, or set TMPDIR to another folder"
    )


def _without_torch(source: object) -> object:
    """Returns a torch tensor as an array, and anything else unchanged; torch is not imported."""
    if type(source).__module__.partition(".")[0] != "torch" or not hasattr(source, "detach"):
        return source
    tensor: Any = source
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    return tensor.numpy()


def _scale_integers(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scales by the full scale of the type; wide types often hold samples of fewer bits."""
    n_bits = 8 * array.dtype.itemsize
    if array.dtype.kind == "u":
        return ((array - 2.0 ** (n_bits - 1)) / 2.0 ** (n_bits - 1)).astype(np.float32)
    if n_bits > 16 and array.size:
        peak = max(-int(array.min()), int(array.max()))
        fitting = next(bits for bits in _INTEGER_BITS if peak <= 2 ** (bits - 1))
        # 24 bits in 32 are as often at the top of them as at the bottom.
        n_bits = 16 if fitting == 16 else max(32, fitting)
    return array.astype(np.float32) * np.float32(2.0 ** (1 - n_bits))
