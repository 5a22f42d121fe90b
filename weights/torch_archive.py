"""Reader of the zip files that `torch.save` writes: the values and tensors in them, without torch.

`weights.state_pickle` reads the table of tensors, and the numbers are mapped from the uncompressed
archive.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weights.checkpoint import Array
from weights.errors import WeightsError
from weights.mapped_file import BFLOAT16, MappedFile
from weights.state_pickle import StoredTensor, read_state

_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1


def is_pytorch(path: Path) -> bool:
    """Returns True if a file begins like one that `torch.save` wrote."""
    file = MappedFile(path)
    return file.bytes_at(0, min(len(_MAGIC), file.n_bytes)) == _MAGIC


def read_state_dict(path: Path) -> dict[str, Array]:
    """Returns the mapped tensors of a state dict, under the names that it has.

    Raises:
        WeightsError: The file is damaged, or holds more than a state dict.
    """
    return read_archive(path)[0]


def read_archive(path: Path) -> tuple[dict[str, Array], Mapping[object, object]]:
    """Returns the mapped tensors of a state dict, and what stands beside it in the file.

    It is the file's whole content, or OpenAI's `model_state_dict` in it.

    Raises:
        WeightsError: The file is damaged, or holds more than weights.
    """
    file = MappedFile(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OSError) as error:
        raise WeightsError(
            f"{path}: truncated or damaged PyTorch file ({error}); fetch or copy it again"
        ) from error
    with archive:
        return _read(_Archive(file, archive))


def _read(archive: "_Archive") -> tuple[dict[str, Array], Mapping[object, object]]:
    path = archive.file.path
    try:
        content = read_state(archive.member_bytes("data.pkl"))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds no state dict")
    state = content.get("model_state_dict", content)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, StoredTensor) for name, tensor in state.items()
    ):
        raise WeightsError(f"{path}: holds more than the tensors of a state dict")
    tensors = {name: archive.array(tensor) for name, tensor in state.items()}
    return tensors, {} if state is content else content


class _Archive:
    """Members of a `torch.save` file, located in the map."""

    def __init__(self, file: MappedFile, archive: zipfile.ZipFile) -> None:
        self.file = file
        self.archive = archive
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(f"{file.path}: a zip file that torch.save did not write")
        self.root = pickles[0].removesuffix("data.pkl")
        byte_order = f"{self.root}byteorder"
        if byte_order in archive.namelist() and self.member_bytes("byteorder") != b"little":
            raise WeightsError(f"{file.path}: written on a big-endian machine; save it on another")

    def locate(self, name: str) -> tuple[int, int]:
        """Returns offset in the file and size in bytes of a member."""
        try:
            info = self.archive.getinfo(self.root + name)
        except KeyError:
            raise WeightsError(f"{self.file.path}: its member {name[:40]} is missing") from None
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise WeightsError(
                f"{self.file.path}: a packed zip file; write it again with torch.save"
            )
        name_bytes, extra_bytes = self.file.unpack("HH", info.header_offset + 26)
        offset = info.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        return offset, info.file_size

    def member_bytes(self, name: str) -> bytes:
        return self.file.bytes_at(*self.locate(name))

    def array(self, tensor: StoredTensor) -> Array:
        """Returns the numbers of a tensor, of any strides, as a view of the map."""
        storage = tensor.storage
        offset, n_bytes = self.locate(f"data/{storage.key}")
        numbers = self.file.array(offset, storage.dtype, (storage.n_numbers,))
        if numbers.nbytes > n_bytes * (2 if storage.dtype == BFLOAT16 else 1):
            raise WeightsError(f"{self.file.path}: its member data/{storage.key} is cut short")
        strides = tuple(stride * numbers.itemsize for stride in tensor.strides)
        return np.lib.stride_tricks.as_strided(
            numbers[tensor.offset :], tensor.shape, strides, writeable=False
        )
