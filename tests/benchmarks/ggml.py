"""Writes a checkpoint in whisper.cpp's ggml format, so that it runs the very same weights.

All numbers are little endian: a magic number and the model's sizes as int32; the mel filter bank;
the vocabulary in the order of its ids; then each tensor with its number of dimensions, length of
name and type, its dimensions from the last to the first, its name and its values. Matrices are
float16, everything else is float32. Source: the loader in whisper.cpp's `src/whisper.cpp`.
"""

import base64
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from maxwhisper_cli.transcription.upstream import mel_filters, whisper_package_folder
from weights.checkpoint import Array, Checkpoint

_MAGIC = 0x67676D6C
_FLOAT32, _FLOAT16 = 0, 1


def write_ggml(path: Path, checkpoint: Checkpoint) -> None:
    """Writes the whole model."""
    dims = checkpoint.dims
    with path.open("wb") as file:
        _integers(file, _MAGIC, dims.n_vocab, dims.n_audio_ctx, dims.n_audio_state)
        _integers(file, dims.n_audio_head, dims.n_audio_layer, dims.n_text_ctx)
        _integers(file, dims.n_text_state, dims.n_text_head, dims.n_text_layer)
        _integers(file, dims.n_mels, _FLOAT16)
        filters = mel_filters(dims.n_mels)
        _integers(file, *filters.shape)
        file.write(filters.astype("<f4").tobytes())
        words = _vocabulary("multilingual" if dims.is_multilingual else "gpt2")
        _integers(file, len(words))
        for word in words:
            _integers(file, len(word))
            file.write(word)
        for name, tensor in checkpoint.tensors.items():
            _write_tensor(file, name, tensor)


def _write_tensor(file: BinaryIO, name: str, tensor: Array) -> None:
    is_conv_bias = name in {"encoder.conv1.bias", "encoder.conv2.bias"}
    shaped = tensor.reshape(-1, 1) if is_conv_bias else tensor
    is_matrix = tensor.ndim > 1 and not name.endswith("positional_embedding")
    kind, dtype = (_FLOAT16, "<f2") if is_matrix else (_FLOAT32, "<f4")
    encoded = name.encode()
    _integers(file, shaped.ndim, len(encoded), kind, *reversed(shaped.shape))
    file.write(encoded)
    file.write(np.ascontiguousarray(shaped, dtype).tobytes())


def _vocabulary(name: str) -> list[bytes]:
    """The words by their ids; special tokens are not among them."""
    lines = (whisper_package_folder() / "assets" / f"{name}.tiktoken").read_bytes().splitlines()
    pairs = (line.split() for line in lines if line)
    ranks = {int(rank): base64.b64decode(word) for word, rank in pairs}
    return [ranks[rank] for rank in sorted(ranks)]


def _integers(file: BinaryIO, *numbers: int) -> None:
    file.write(struct.pack(f"<{len(numbers)}i", *numbers))
