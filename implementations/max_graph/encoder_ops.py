"""The custom operations of many rows, as functions on graph values: the encoder's layers.

Each does several steps of a layer for a block of rows at a time, while the block is in the cache.
A layer's weights come as its `parts()`. What an operation computes is written beside its Mojo
source.
"""

from max.dtype import DType
from max.graph import TensorType, TensorValue, ops

from implementations.max_graph.kernel_ops import CPU, n_threads
from implementations.max_graph.layouts import AMX_STEP, key_shape, value_shape

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
    x: TensorValue, norm: Parts, linear: Parts, n_head: int
) -> tuple[TensorValue, TensorValue, TensorValue]:
    """[n_batch, n_ctx, n_state] -> queries of the same shape, keys and values, after layer norm."""
    kept = DType.bfloat16 if linear[0].dtype == DType.bfloat16 else DType.float32
    types = [
        x.type,
        *_keys_values(x, int(x.shape[2]), n_head, kept),
    ]
    values = [x, *norm, *linear, n_threads()]
    queries, keys, own_values = _run("whisper_query_key_value", values, *types)
    return queries, keys, own_values


def key_value(x: TensorValue, linear: Parts, n_head: int) -> tuple[TensorValue, TensorValue]:
    """[n_batch, n_ctx, n_in] -> keys and values as attention reads them."""
    types = _keys_values(x, int(linear[2].shape[0]) // 2, n_head, DType.float32)
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


def _keys_values(
    x: TensorValue, n_state: int, n_head: int, dtype: DType
) -> tuple[TensorType, TensorType]:
    """The types of keys and values of every row of x."""
    n_ctx, n_channels = int(x.shape[1]), n_state // n_head
    n_values = n_ctx if dtype == DType.float32 else -(-n_ctx // AMX_STEP) * AMX_STEP
    keys, values = key_shape(n_head, n_ctx, n_channels), value_shape(n_head, n_values, n_channels)
    return (
        TensorType(dtype, [x.shape[0], *keys], CPU),
        TensorType(dtype, [x.shape[0], *values], CPU),
    )


def _run(name: str, values: Parts, *types: TensorType) -> Parts:
    """The tensors that an operation gives."""
    return [result.tensor for result in ops.custom(name, CPU, values, list(types))]
