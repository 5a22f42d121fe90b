"""Packing of a checkpoint's tensors into the names and shapes that a GPU's graphs declare.

Matrices are [n_out, n_in] in the graph's dtype; all else is float32. Done once per load.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.log_mel import hann_window
from implementations.session import FloatArray
from weights.checkpoint import Array, Checkpoint
from weights.dims import N_FFT, ModelDimensions
from weights.names import expected_shapes

_SELF_ATTENTION = ("query", "key", "value")
_CROSS_ATTENTION = ("key", "value")


def graph_weights(
    checkpoint: Checkpoint, dtype: DType, stacks: tuple[str, ...] = ("encoder", "decoder")
) -> dict[str, Array | Buffer]:
    """Returns the weights of the graphs of some stacks, by the layers' names."""
    packed = {
        name: array for name, array in _packed(checkpoint) if name.partition(".")[0] in stacks
    }
    if "decoder" in stacks:
        packed["decoder.no_bias"] = np.zeros(checkpoint.dims.n_vocab, np.float32)
    return {
        name: _in_dtype(array, dtype)
        if array.ndim >= 2 and not name.endswith("positional_embedding")
        else np.require(array, np.float32, ["C", "A", "W"])
        for name, array in packed.items()
    }


def _packed(checkpoint: Checkpoint) -> Iterator[tuple[str, Array]]:
    tensors, dims = checkpoint.tensors, checkpoint.dims
    for name, array in tensors.items():
        if ".attn." not in name and ".cross_attn." not in name:
            # a convolution reads three frames side by side, in time order
            yield name, array.transpose(0, 2, 1) if array.ndim == 3 else array
        elif ".out." in name or ".cross_attn.query." in name:
            yield name, array
    for stack, n_layer in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        for i in range(n_layer):
            prefix = f"{stack}.blocks.{i}.attn"
            parts = [f"{prefix}.{part}" for part in _SELF_ATTENTION]
            yield from _fused(f"{prefix}.qkv", parts, tensors)
    parts = [
        f"decoder.blocks.{i}.cross_attn.{part}"
        for i in range(dims.n_text_layer)
        for part in _CROSS_ATTENTION
    ]
    yield from _fused("decoder.cross_kv", parts, tensors)


def _fused(
    name: str, parts: list[str], tensors: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    """Joins projections into one matmul; the key projection alone has no bias."""
    matrices = [tensors[f"{part}.weight"] for part in parts]
    biases = [
        tensors.get(f"{part}.bias", np.zeros(len(matrix), np.float32))
        for part, matrix in zip(parts, matrices, strict=True)
    ]
    yield f"{name}.weight", np.concatenate(matrices)
    yield f"{name}.bias", np.concatenate([bias.astype(np.float32) for bias in biases])


def _in_dtype(array: Array, dtype: DType) -> Array | Buffer:
    """Returns a matrix [n_out, n_in], a convolution's flattened; NumPy has no bfloat16."""
    matrix = array.reshape(len(array), -1)
    if dtype != DType.bfloat16:
        return np.require(matrix, dtype.to_numpy(), ["C", "A", "W"])
    bits = np.ascontiguousarray(matrix, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return Buffer.from_numpy(rounded.astype(np.uint16)).view(DType.bfloat16)


def log_mel_constants() -> dict[str, Array]:
    """Returns the inputs of `log_mel` beside samples and filters: window and a table of waves."""
    phases = np.arange(N_FFT) * (2 * np.pi / N_FFT)
    return {
        "log_mel.window": hann_window(),
        "log_mel.waves": np.stack([np.cos(phases), np.sin(phases)]),
    }


def canonical_weights(
    packed: Mapping[str, Array | Buffer], dims: ModelDimensions
) -> Iterator[tuple[str, FloatArray]]:
    """Yields the packed weights under OpenAI's names and in its shapes, in float32."""
    for name, shape in expected_shapes(dims).items():
        packed_name, first = _packed_name(name, shape[0])
        if packed_name not in packed:
            continue  # of a stack that is not held here
        part = _float32(packed[packed_name])[first : first + shape[0]]
        if len(shape) == 3:
            part = part.reshape(shape[0], shape[2], shape[1]).transpose(0, 2, 1)
        yield name, part.reshape(shape).copy()


def _packed_name(name: str, n_out: int) -> tuple[str, int]:
    """The arranged array that holds a tensor, and its first row there."""
    prefix, _, kind = name.rpartition(".")
    prefix, _, part = prefix.rpartition(".")
    if prefix.endswith(".attn") and part in _SELF_ATTENTION:
        return f"{prefix}.qkv.{kind}", _SELF_ATTENTION.index(part) * n_out
    if prefix.endswith(".cross_attn") and part in _CROSS_ATTENTION:
        layer = int(prefix.split(".")[2])
        index = len(_CROSS_ATTENTION) * layer + _CROSS_ATTENTION.index(part)
        return f"decoder.cross_kv.{kind}", index * n_out
    return name, 0


def _float32(array: Array | Buffer) -> FloatArray:
    """Returns the exact float32 values; NumPy has no bfloat16, so bits are shifted into place."""
    if isinstance(array, Buffer):
        bits = array.view(DType.uint16).to_numpy().astype(np.uint32) << 16
        return bits.view(np.float32)
    return array.astype(np.float32)
