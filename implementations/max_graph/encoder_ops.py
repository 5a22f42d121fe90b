"""The custom operations of many rows, as functions on graph values: the encoder's layers.

Each does several steps of a layer for a block of rows at a time, while the block is in the cache.
A layer's weights come as its `parts()`. What an operation computes is written beside its Mojo
source.
"""

from max.dtype import DType
from max.graph import ShapeLike, TensorType, TensorValue, ops

from implementations.max_graph.kernel_ops import CPU, n_threads
from implementations.max_graph.layouts import key_shape, value_shape

Parts = list[TensorValue]
"""Panels, scales and bias of a dense layer or convolution; weight and bias of a layer norm."""


def stem(mel: TensorValue, conv1: Parts, conv2: Parts, positional: TensorValue) -> TensorValue:
    """[n_batch, n_mels, 2 * n_ctx] -> [n_batch, n_ctx, n_state], with positions added."""
    n_ctx, n_state = positional.shape
    values = [mel, *conv1, *conv2, positional, n_threads()]
    (x,) = _run("whisper_stem", values, [mel.shape[0], n_ctx, n_state])
    return x


def query_key_value(
    x: TensorValue, norm: Parts, linear: Parts, n_head: int
) -> tuple[TensorValue, TensorValue, TensorValue]:
    """[n_batch, n_ctx, n_state] -> queries of the same shape, keys and values, after layer norm."""
    shapes = _keys_values(x, int(x.shape[2]), n_head)
    values = [x, *norm, *linear, n_threads()]
    queries, keys, own_values = _run("whisper_query_key_value", values, list(x.shape), *shapes)
    return queries, keys, own_values


def key_value(x: TensorValue, linear: Parts, n_head: int) -> tuple[TensorValue, TensorValue]:
    """[n_batch, n_ctx, n_in] -> keys and values as attention reads them."""
    shapes = _keys_values(x, int(linear[2].shape[0]) // 2, n_head)
    keys, values = _run("whisper_key_value", [x, *linear, n_threads()], *shapes)
    return keys, values


def attend(
    qkv: tuple[TensorValue, TensorValue, TensorValue], x: TensorValue, linear: Parts
) -> TensorValue:
    """Attention of all queries to all keys, a dense layer, and x: shaped as x."""
    (attended,) = _run("whisper_attend", [*qkv, x, *linear, n_threads()], list(x.shape))
    return attended


def mlp(x: TensorValue, norm: Parts, widen: Parts, narrow: Parts) -> TensorValue:
    """[n_batch, n_ctx, n_state] -> the same shape: layer norm, two dense layers, and x."""
    (y,) = _run("whisper_mlp", [x, *norm, *widen, *narrow, n_threads()], list(x.shape))
    return y


def _keys_values(x: TensorValue, n_state: int, n_head: int) -> tuple[ShapeLike, ShapeLike]:
    """The shapes of keys and values of every row of x."""
    sizes = (n_head, int(x.shape[1]), n_state // n_head)
    return [x.shape[0], *key_shape(*sizes)], [x.shape[0], *value_shape(*sizes)]


def _run(name: str, values: Parts, *shapes: ShapeLike) -> Parts:
    """An operation with float32 tensors as its results."""
    types = [TensorType(DType.float32, shape, CPU) for shape in shapes]
    return [result.tensor for result in ops.custom(name, CPU, values, types)]
