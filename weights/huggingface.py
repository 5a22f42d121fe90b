"""Reader of Hugging Face's Whisper models: safetensors or PyTorch's files, one or several.

Sizes come from the tensors; `config.json` and `generation_config.json` beside them only supply
the numbers of heads and the alignment heads.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from weights.assembly import assemble, read_alignment_heads, read_json
from weights.canonical import to_canonical
from weights.checkpoint import Array, Checkpoint
from weights.errors import WeightsError
from weights.mapped_file import BFLOAT16, MappedFile
from weights.torch_archive import is_pytorch, read_state_dict

FILE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
_DTYPES: Mapping[str, str] = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": BFLOAT16}
_HEADER_OFFSET = 8


def read(path: Path) -> Checkpoint:
    """Reads `path`: a safetensors file, the JSON index of several, or the folder with either.

    Raises:
        WeightsError: A file is damaged or missing, or the model is not a complete Whisper.
    """
    if path.is_dir():
        path = path / (FILE_NAME if (path / FILE_NAME).is_file() else INDEX_NAME)
    tensors: dict[str, Array] = {}
    for shard in _shards(path):
        tensors.update(_read_shard(shard))
    return assemble_with_config(path, tensors)


def assemble_with_config(path: Path, tensors: Mapping[str, Array]) -> Checkpoint:
    """Returns the checkpoint of tensors under any names, by the configuration beside `path`.

    Raises:
        WeightsError: The model is not a complete Whisper.
    """
    config = read_json(path.parent / "config.json")
    return assemble(
        path,
        to_canonical(path, tensors),
        n_audio_head=_size(config, "encoder_attention_heads"),
        n_text_head=_size(config, "decoder_attention_heads"),
        alignment_heads=read_alignment_heads(path.parent / "generation_config.json"),
    )


def _shards(path: Path) -> Iterable[Path]:
    if MappedFile(path).data[_HEADER_OFFSET : _HEADER_OFFSET + 1] == b"{":
        return [path]
    index = read_json(path).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise WeightsError(f"{path}: not an index of weights files; fetch or copy it again")
    names = sorted({str(name) for name in index.values()})
    outside = next((name for name in names if Path(name).name != name), None)
    if outside is not None:
        raise WeightsError(f"{path}: names {outside[:80]}, a file outside its folder")
    return [path.parent / name for name in names]


def _read_shard(path: Path) -> dict[str, Array]:
    """Returns the mapped tensors of one file, in safetensors' format or in PyTorch's."""
    if is_pytorch(path):
        return read_state_dict(path)
    return _read_safetensors(path)


def _read_safetensors(path: Path) -> dict[str, Array]:
    """Returns the mapped tensors of one file, whose header the library checks."""
    from safetensors import SafetensorError, safe_open

    file = MappedFile(path)
    try:
        with safe_open(path, framework="numpy") as reader:
            slices = {name: reader.get_slice(name) for name in reader.offset_keys()}
            headers = {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: truncated or damaged safetensors file ({error}); fetch or copy it again"
        ) from error
    tensors: dict[str, Array] = {}
    n_data_bytes = 0
    for name, (dtype, shape) in headers.items():
        if dtype not in _DTYPES:
            raise WeightsError(f"{path}: {name} holds {dtype} where float numbers should be")
        n_data_bytes += _n_bytes(dtype, shape)
    offset = file.n_bytes - n_data_bytes  # the data fill the end of the file
    for name, (dtype, shape) in headers.items():
        tensors[name] = file.array(offset, _DTYPES[dtype], tuple(shape))
        offset += _n_bytes(dtype, shape)
    return tensors


def _n_bytes(dtype: str, shape: list[int]) -> int:
    itemsize = 2 if dtype == "BF16" else np.dtype(_DTYPES[dtype]).itemsize
    return int(np.prod(shape, dtype=np.int64)) * itemsize


def _size(config: Mapping[str, object], name: str) -> int | None:
    value = config.get(name)
    return value if isinstance(value, int) else None
