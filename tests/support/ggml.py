"""Writes a checkpoint in whisper.cpp's ggml format, in any type that the reader knows.

All numbers are little endian: a magic number and the model's sizes as int32; the mel filter bank;
the vocabulary in the order of its ids; then each tensor with its number of dimensions, length of
name and type, its dimensions from the last to the first, its name and its values. As whisper.cpp's
converter and `quantize` leave it, matrices are float16 or quantised, convolutions float16, and
everything else is float32. Source: the loader in whisper.cpp's `src/whisper.cpp`, and
`quantize_row_*_ref` in ggml's `ggml-quants.c`.
"""

import base64
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maxwhisper_cli.transcription.upstream import mel_filters, whisper_package_folder
from weights.checkpoint import Array, Checkpoint
from weights.dims import ModelDimensions

TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8}
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9}
"""Types of whole files, in the header; quantised ones with the version of the blocks."""
_BLOCK_VERSION = 2000
_MAGIC = 0x67676D6C


def write_ggml(path: Path, checkpoint: Checkpoint, kind: str = "f16") -> Path:
    """Writes the whole model, its matrices in a type of `TYPES`."""
    path.write_bytes(ggml_bytes(checkpoint.dims, dict(checkpoint.tensors), kind))
    return path


def ggml_bytes(dims: ModelDimensions, tensors: dict[str, Array], kind: str = "f16") -> bytes:
    tensors_as_bytes = [_tensor(name, tensor, kind) for name, tensor in tensors.items()]
    version = 0 if kind in {"f32", "f16"} else _BLOCK_VERSION
    return b"".join([header_bytes(dims, FILE_TYPES[kind] + version), *tensors_as_bytes])


def header_bytes(dims: ModelDimensions, file_type: int = 1) -> bytes:
    """Everything before the tensors."""
    filters = mel_filters(dims.n_mels)
    words = vocabulary("multilingual" if dims.is_multilingual else "gpt2")
    return b"".join(
        [
            _integers(_MAGIC, dims.n_vocab, dims.n_audio_ctx, dims.n_audio_state),
            _integers(dims.n_audio_head, dims.n_audio_layer, dims.n_text_ctx),
            _integers(dims.n_text_state, dims.n_text_head, dims.n_text_layer),
            _integers(dims.n_mels, file_type, *filters.shape),
            filters.astype("<f4").tobytes(),
            _integers(len(words)),
            *(_integers(len(word)) + word for word in words),
        ]
    )


def vocabulary(name: str) -> list[bytes]:
    """The words by their ids; special tokens are not among them."""
    lines = (whisper_package_folder() / "assets" / f"{name}.tiktoken").read_bytes().splitlines()
    pairs = (line.split() for line in lines if line)
    ranks = {int(rank): base64.b64decode(word) for word, rank in pairs}
    return [ranks[rank] for rank in sorted(ranks)]


def quantise(values: Array, kind: str) -> bytes:
    """Blocks of 32 numbers along the rows, as ggml's reference rounds them."""
    blocks = np.ascontiguousarray(values, np.float32).reshape(-1, 32)
    return _QUANTISERS[kind](blocks).tobytes()


def _tensor(name: str, tensor: Array, kind: str) -> bytes:
    is_conv_bias = name in {"encoder.conv1.bias", "encoder.conv2.bias"}
    shaped = tensor.reshape(-1, 1) if is_conv_bias else tensor
    is_matrix = tensor.ndim > 1 and not name.endswith("positional_embedding")
    used = kind if is_matrix else "f32"
    if used not in {"f32", "f16"} and (tensor.ndim != 2 or tensor.shape[1] % 32):
        used = "f16"
    encoded = name.encode()
    head = _integers(shaped.ndim, len(encoded), TYPES[used], *reversed(shaped.shape)) + encoded
    if used in {"f32", "f16"}:
        dtype = "<f4" if used == "f32" else "<f2"
        return head + np.ascontiguousarray(shaped, dtype).tobytes()
    return head + quantise(shaped, used)


def _integers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def _symmetric(blocks: Array, n_bits: int) -> Array:
    """q4_0, q5_0: the number furthest from zero becomes the least integer."""
    half = 1 << (n_bits - 1)
    furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], axis=1)
    scale = furthest / -half
    integers = _rounded(blocks, scale, half + 0.5, 2 * half - 1)
    return np.concatenate([_halves(scale), _packed(integers, n_bits)], axis=1)


def _with_offset(blocks: Array, n_bits: int) -> Array:
    """q4_1, q5_1: the least number becomes 0, the greatest the greatest integer."""
    top = (1 << n_bits) - 1
    least = blocks.min(1, keepdims=True)
    scale = (blocks.max(1, keepdims=True) - least) / top
    integers = _rounded(blocks - least, scale, 0.5, top)
    return np.concatenate([_halves(scale), _halves(least), _packed(integers, n_bits)], axis=1)


def _bytes(blocks: Array) -> Array:
    scale = np.abs(blocks).max(1, keepdims=True) / 127
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    scaled = blocks * inverse
    integers = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)  # as C's roundf
    return np.concatenate([_halves(scale), integers.astype(np.int8).view(np.uint8)], axis=1)


def _rounded(values: Array, scale: Array, shift: float, top: int) -> Array:
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    return np.minimum((values * inverse + np.float32(shift)).astype(np.int8), top).astype(np.uint8)


def _halves(values: Array) -> Array:
    return np.ascontiguousarray(values.astype("<f2")).view(np.uint8)


def _packed(integers: Array, n_bits: int) -> Array:
    low = integers & 0xF
    packed = low[:, :16] | (low[:, 16:] << 4)
    if n_bits == 4:
        return packed
    return np.concatenate([np.packbits(integers >> 4, axis=1, bitorder="little"), packed], axis=1)


_QUANTISERS: dict[str, Callable[[Array], Array]] = {
    "q4_0": lambda blocks: _symmetric(blocks, 4),
    "q4_1": lambda blocks: _with_offset(blocks, 4),
    "q5_0": lambda blocks: _symmetric(blocks, 5),
    "q5_1": lambda blocks: _with_offset(blocks, 5),
    "q8_0": _bytes,
}
