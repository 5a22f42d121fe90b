"""Reader of PyTorch's zip files (`.pt`): OpenAI's checkpoints, and bare state dicts.

It works without torch: `weights.state_pickle` reads the table of tensors, and the numbers are
mapped from the uncompressed archive.
"""

import struct
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from weights.assembly import assemble
from weights.checkpoint import Array, Checkpoint
from weights.errors import WeightsError
from weights.huggingface import to_canonical
from weights.mapped_file import BFLOAT16, MappedFile
from weights.state_pickle import StoredTensor, read_state

_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1


def read(path: Path) -> Checkpoint:
    """Reads `path`, a file written by `torch.save`.

    It holds either OpenAI's `{"dims": ..., "model_state_dict": ...}` or a state dict alone, under
    OpenAI's or Hugging Face's names.

    Raises:
        WeightsError: it is damaged, holds more than weights, or is not a complete Whisper model.
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


def _read(archive: _Archive) -> Checkpoint:
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
    tensors = to_canonical(path, {name: archive.array(tensor) for name, tensor in state.items()})
    header = content.get("dims") if state is not content else {}
    return _assemble(path, tensors, header)


def _assemble(path: Path, tensors: Mapping[str, Array], header: object) -> Checkpoint:
    """Builds the checkpoint, and requires the sizes in the file to be those of its tensors."""
    if not isinstance(header, dict) or not all(isinstance(size, int) for size in header.values()):
        raise WeightsError(f"{path}: its dims are not a table of sizes")
    checkpoint = assemble(
        path,
        tensors,
        n_audio_head=header.get("n_audio_head"),
        n_text_head=header.get("n_text_head"),
    )
    sizes = asdict(checkpoint.dims)
    wrong = [
        f"{name} {header[name]}" for name in sizes if header.get(name, sizes[name]) != sizes[name]
    ]
    if wrong:
        raise WeightsError(f"{path}: its dims ({', '.join(wrong)}) are not those of its tensors")
    return checkpoint
