"""Bring a checkpoint's tensors into the names and shapes that the graphs for a GPU declare.

Matrices are [n_out, n_in] in the graph's dtype; all else is float32. Done once per load.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from weights.checkpoint import Array, Checkpoint


def graph_weights(checkpoint: Checkpoint, dtype: DType) -> dict[str, Array | Buffer]:
    """All weights by the names that the layers give."""
    arranged = dict(_arranged(checkpoint))
    arranged["decoder.no_bias"] = np.zeros(checkpoint.dims.n_vocab, np.float32)
    return {
        name: _in_dtype(array, dtype)
        if array.ndim >= 2 and not name.endswith("positional_embedding")
        else np.require(array, np.float32, ["C", "A", "W"])
        for name, array in arranged.items()
    }


def _arranged(checkpoint: Checkpoint) -> Iterator[tuple[str, Array]]:
    tensors, dims = checkpoint.tensors, checkpoint.dims
    for name, array in tensors.items():
        if ".attn." not in name and ".cross_attn." not in name:
            # the patch of a frame: its three columns in time order
            yield name, array.transpose(0, 2, 1) if array.ndim == 3 else array
        elif ".out." in name or ".cross_attn.query." in name:
            yield name, array
    for stack, n_layer in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        for i in range(n_layer):
            prefix = f"{stack}.blocks.{i}.attn"
            parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
            yield from _fused(f"{prefix}.query_key_value", parts, tensors)
    parts = [
        f"decoder.blocks.{i}.cross_attn.{part}"
        for i in range(dims.n_text_layer)
        for part in ("key", "value")
    ]
    yield from _fused("decoder.key_value", parts, tensors)


def _fused(
    name: str, parts: list[str], tensors: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    """One product out of several; the key projection alone has no bias."""
    matrices = [tensors[f"{part}.weight"] for part in parts]
    biases = [
        tensors.get(f"{part}.bias", np.zeros(len(matrix), np.float32))
        for part, matrix in zip(parts, matrices, strict=True)
    ]
    yield f"{name}.weight", np.concatenate(matrices)
    yield f"{name}.bias", np.concatenate([bias.astype(np.float32) for bias in biases])


def _in_dtype(array: Array, dtype: DType) -> Array | Buffer:
    """A matrix or a convolution's patches, [n_out, n_in]; NumPy has no bfloat16."""
    matrix = array.reshape(len(array), -1)
    if dtype != DType.bfloat16:
        return np.require(matrix, dtype.to_numpy(), ["C", "A", "W"])
    bits = np.ascontiguousarray(matrix, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return Buffer.from_numpy(rounded.astype(np.uint16)).view(DType.bfloat16)
