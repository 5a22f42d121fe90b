"""The custom operations of many rows, as functions on graph values: the encoder's layers.

Each does several steps of a layer for a block of rows at a time, while the block is in the cache.
A layer's weights come as its `parts()`. What an operation computes is written beside its Mojo
source.
"""

from max.dtype import DType
from max.graph import Dim, TensorType, TensorValue, ops

from implementations.max_graph.cpu.graphs.layouts import AMX_STEP, key_shape, value_shape
from implementations.max_graph.cpu.graphs.ops import CPU, n_threads

Parts = list[TensorValue]
"""Panels, scales and bias of a dense layer or convolution; weight and bias of a layer norm."""


def stem(mel: TensorValue, conv1: Parts, conv2: Parts, positional: TensorValue) -> TensorValue:
    """[n_batch, n_mels, 2 * n_ctx] -> [n_batch, n_ctx, n_state], with positions added."""
    n_ctx, n_state = positional.shape
    values = [mel, *conv1, *conv2, positional, n_threads()]
    (x,) = _run(
        "whisper_stem", values, TensorType(DType.float32, [mel.shape[0], n_ctx, n_state], CPU)
    )
    return x


def query_key_value(
    x: TensorValue, norm: Parts, linear: Parts, n_head: Dim | int
) -> tuple[TensorValue, TensorValue, TensorValue]:
    """[n_batch, n_ctx, n_state] -> queries of the same shape, keys and values, after layer norm."""
    types = [x.type, *_keys_values(x, linear[0].dtype, x.shape[2], n_head)]
    values = [x, *norm, *linear, n_threads()]
    queries, keys, own_values = _run("whisper_query_key_value", values, *types)
    return queries, keys, own_values


def key_value(x: TensorValue, linear: Parts, n_head: Dim | int) -> tuple[TensorValue, TensorValue]:
    """[n_batch, n_ctx, n_in] -> keys and values as attention reads them."""
    types = _keys_values(x, linear[0].dtype, linear[2].shape[0] // 2, n_head)
    keys, values = _run("whisper_key_value", [x, *linear, n_threads()], *types)
    return keys, values


def attend(
    qkv: tuple[TensorValue, TensorValue, TensorValue], x: TensorValue, linear: Parts
) -> TensorValue:
    """Attention of all queries to all keys, a dense layer, and x: shaped as x."""
    (attended,) = _run("whisper_attend", [*qkv, x, *linear, n_threads()], x.type)
    return attended


def mlp(x: TensorValue, norm: Parts, widen: Parts, narrow: Parts) -> TensorValue:
    """[n_batch, n_ctx, n_state] -> the same shape: layer norm, two dense layers, and x."""
    (y,) = _run("whisper_mlp", [x, *norm, *widen, *narrow, n_threads()], x.type)
    return y


def kept_type(dtype: DType) -> DType:
    """What keys and values are kept in where the matrix that they come from is in a dtype."""
    return DType.bfloat16 if dtype == DType.bfloat16 else DType.float32


def keys_values_types(
    n_batch: Dim | int, sizes: tuple[Dim | int, Dim | int, Dim | int], dtype: DType
) -> tuple[TensorType, TensorType]:
    """The types of keys and values of some positions: sizes are n_head, n_ctx and n_channels."""
    n_head, n_ctx, n_channels = (Dim(size) for size in sizes)
    steps = (n_ctx + (AMX_STEP - 1)) // AMX_STEP
    n_values = n_ctx if dtype == DType.float32 else steps * AMX_STEP
    keys, values = key_shape(n_head, n_ctx, n_channels), value_shape(n_head, n_values, n_channels)
    return TensorType(dtype, [n_batch, *keys], CPU), TensorType(dtype, [n_batch, *values], CPU)


def _keys_values(
    x: TensorValue, dtype: DType, n_state: Dim, n_head: Dim | int
) -> tuple[TensorType, TensorType]:
    """The types of keys and values of every row of x, from a matrix in dtype."""
    return keys_values_types(x.shape[0], (n_head, x.shape[1], n_state // n_head), kept_type(dtype))


def _run(name: str, values: Parts, *types: TensorType) -> Parts:
    """The tensors that an operation gives."""
    return [result.tensor for result in ops.custom(name, CPU, values, list(types))]
