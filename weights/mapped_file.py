"""A file mapped into memory, whose parts become arrays without a copy.

It checks bounds and number formats, and does not interpret the content.
"""

import mmap
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weights.checkpoint import Array
from weights.errors import WeightsError

BFLOAT16 = "bfloat16"
"""Name of the number format that NumPy lacks; read as float32, which represents it exactly."""


_MAX_RANK = 8


class MappedFile:
    """A read-only map of a whole file; the arrays keep the map alive.

    Every access is checked against the file's real size before anything is allocated.
    """

    def __init__(self, path: Path) -> None:
        """Maps `path`.

        Raises:
            WeightsError: It is not a regular, readable file with something in it.
        """
        self.path = path
        try:
            if not path.is_file():
                reason = "not a regular file" if path.exists() else "no such file"
                raise WeightsError(f"{path}: {reason}")
            if path.stat().st_size == 0:
                raise WeightsError(f"{path}: the file is empty; fetch or copy it again")
            with path.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return len(self.data)

    def bytes_at(self, offset: int, n_bytes: int) -> bytes:
        """Copies `n_bytes` bytes from `offset`.

        Raises:
            WeightsError: They would lie beyond the end of the file.
        """
        self._check(offset, n_bytes)
        return self.data[offset : offset + n_bytes]

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Reads little-endian numbers laid out as `layout` (struct's notation) at `offset`.

        Raises:
            WeightsError: They would lie beyond the end of the file.
        """
        layout = f"<{layout}"
        return struct.unpack(layout, self.bytes_at(offset, struct.calcsize(layout)))

    def array(self, offset: int, dtype: str, shape: tuple[int, ...]) -> Array:
        """View the little-endian numbers at `offset` as a read-only array of `shape`.

        `bfloat16` alone is copied (to float32). The array may be unaligned, as its file is.

        Raises:
            WeightsError: The array would reach beyond the end of the file, or have no numbers.
        """
        stored = np.dtype("<u2" if dtype == BFLOAT16 else dtype).newbyteorder("<")
        n_numbers = 1
        for size in shape:
            n_numbers *= size
        if n_numbers < 1 or len(shape) > _MAX_RANK:
            raise WeightsError(
                f"{self.path}: damaged: no tensor of Whisper has shape {list(shape)[:_MAX_RANK]}; "
                "fetch or copy it again"
            )
        self._check(offset, n_numbers * stored.itemsize)
        array: Array = np.frombuffer(self.data, stored, n_numbers, offset).reshape(shape)
        return bfloat16_to_float32(array) if dtype == BFLOAT16 else array

    def _check(self, offset: int, n_bytes: int) -> None:
        if offset < 0 or n_bytes < 0 or offset + n_bytes > self.n_bytes:
            raise WeightsError(
                f"{self.path}: truncated or damaged: it should hold at least "
                f"{offset + n_bytes} bytes and has {self.n_bytes}; fetch or copy it again"
            )


def bfloat16_to_float32(bits: Array) -> npt.NDArray[np.float32]:
    """Widens bfloat16 bit patterns (any shape, as uint16) to float32: exact, in a new array."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
