"""The custom operations of `gpu/kernels/`, as functions on graph values.

Shapes are given and checked here; the computation is documented beside its Mojo source. Numbers
that both sides need are parameters of the operations, which Mojo uses or checks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from max.dtype import DType
from max.graph import BufferValue, DeviceRef, Dim, Graph, ShapeLike, TensorType, TensorValue, ops

KERNELS = Path(__file__).parents[1] / "kernels"
MAX_SPLITS = 16
"""Blocks that share the keys of a query in cross-attention, at most."""

Parameters = dict[str, bool | int | str | DType]

_is_portable: ContextVar[bool] = ContextVar("is_portable", default=False)


@contextmanager
def kernels_for(*, is_portable: bool) -> Iterator[None]:
    """Sets which kernels graphs are built of: those of every GPU, or those of Hopper."""
    token = _is_portable.set(is_portable)
    try:
        yield
    finally:
        _is_portable.reset(token)


def is_portable() -> bool:
    """Returns True where the graph being built has kernels that every GPU runs."""
    return _is_portable.get()


def gpu() -> DeviceRef:
    """Returns the device of the graph being built, which its inputs are on."""
    first = Graph.current.inputs[0]
    return first.device if isinstance(first, BufferValue) else first.tensor.device


def im2col(x: TensorValue, dtype: DType, *, stride: int, channels_first: bool) -> TensorValue:
    """[n_batch, n_frames, n_in] -> [n_batch, n_frames / stride, 3 * n_in], zero beyond the ends.

    With channels first, x is [n_batch, n_in, n_frames].
    """
    n_batch, n_frames, n_in = x.shape
    if channels_first:
        n_frames, n_in = n_in, n_frames
    shape: list[Dim | int] = [n_batch, n_frames // stride, n_in * 3]
    parameters: Parameters = {"stride": stride, "channels_first": channels_first}
    return one_tensor("whisper_gpu_im2col", [x], shape, dtype, parameters)


@dataclass(frozen=True, slots=True)
class Epilogue:
    """Work on the sums of a matmul, after the bias, before they are stored."""

    gelu: bool = False
    residual: TensorValue | None = None
    """Added last; one with fewer rows is repeated."""
    dtype: DType = DType.float32
    """Type of the output; always float32 with a float32 matrix."""


def matmul(
    x: TensorValue,
    weight: TensorValue,
    bias: TensorValue,
    norm: tuple[TensorValue, TensorValue] | None,
    epilogue: Epilogue,
) -> TensorValue:
    """[n_batch, n_ctx, n_in] -> [n_batch, n_ctx, n_out], layer norm before, sums in float32.

    With a matrix in half precision x is rounded to it as well, but for a few rows.
    """
    residual = bias if epilogue.residual is None else epilogue.residual
    values = [x, weight, bias, residual, *(norm or (bias, bias))]
    parameters: Parameters = {
        "has_norm": norm is not None,
        "has_gelu": epilogue.gelu,
        "has_residual": epilogue.residual is not None,
    }
    shape = [x.shape[0], x.shape[1], weight.shape[0]]
    types = [TensorType(epilogue.dtype, shape, gpu())]
    if weight.dtype == DType.float32:
        (result,) = ops.custom("whisper_gpu_matmul", gpu(), values, types, parameters)
        return result.tensor
    workspace = x.shape if x.dtype == DType.float32 else [1, 1, 1]
    types.append(TensorType(weight.dtype, workspace, gpu()))
    parameters |= {"n_in": int(x.shape[2]), "portable": is_portable()}
    result, _ = ops.custom("whisper_gpu_matmul_half", gpu(), values, types, parameters)
    return result.tensor


def transpose(mel: TensorValue, dtype: DType) -> TensorValue:
    """[n_batch, n_mels, n_frames] -> [n_batch, n_frames, n_mels]."""
    shape = [mel.shape[0], mel.shape[2], mel.shape[1]]
    return one_tensor("whisper_gpu_transpose", [mel], shape, dtype)


def layer_norm(x: TensorValue, weight: TensorValue, bias: TensorValue) -> TensorValue:
    """[n_batch, n_ctx, n_state] -> the same shape."""
    return one_tensor("whisper_gpu_layer_norm", [x, weight, bias], x.shape)


def embed_tokens(
    tokens: TensorValue, offsets: TensorValue, embedding: TensorValue, positional: TensorValue
) -> TensorValue:
    """[n_rows, n_new] tokens, row i from position offsets[i] on -> [n_rows, n_new, n_state]."""
    return one_tensor(
        "whisper_gpu_embed_tokens",
        [tokens, offsets, embedding, positional],
        [tokens.shape[0], tokens.shape[1], positional.shape[1]],
    )


def gather_rows(x: TensorValue, rows: TensorValue) -> TensorValue:
    """[n_rows, n_new, n_state], row numbers [n_selected] -> [1, n_selected, n_state]."""
    return one_tensor("whisper_gpu_gather_rows", [x, rows], [1, rows.shape[0], x.shape[2]])


def attention(qkv: TensorValue, head_dim: int) -> TensorValue:
    """[n_batch, n_ctx, 3 * n_state] -> [n_batch, n_ctx, n_state]; all see all."""
    shape: list[Dim | int] = [qkv.shape[0], qkv.shape[1], int(qkv.shape[2]) // 3]
    parameters: Parameters = {"head_dim": head_dim, "portable": is_portable()}
    return one_tensor("whisper_gpu_attention", [qkv], shape, qkv.dtype, parameters)


def self_attention_kv_cache(
    qkv: TensorValue,
    cache: BufferValue,
    offsets: TensorValue,
    slots: BufferValue,
    layer: int,
    head_dim: int,
) -> TensorValue:
    """[n_rows, n_new, 3 * n_state] -> [n_rows, n_new, n_state], causal, appending to the cache.

    Row i keeps position p in slot slots[i, p] of the cache: new ones, from position offsets[i] on,
    and those before.
    """
    n_state = int(qkv.shape[2]) // 3
    (attended,) = ops.inplace_custom(
        "whisper_gpu_self_attention_kv_cache",
        gpu(),
        [cache, slots, qkv, offsets],
        [TensorType(qkv.dtype, [qkv.shape[0], qkv.shape[1], n_state], gpu())],
        {"head_dim": head_dim, "layer": layer},
    )
    return attended.tensor


def cross_attention(
    q: TensorValue,
    audio: tuple[TensorValue, TensorValue],
    layer: int,
    head_dim: int,
    *,
    shared_splits: int = 1,
) -> TensorValue:
    """[n_rows, n_new, n_state] -> the same shape.

    Args:
        q: [n_rows, n_new, n_state].
        audio: Keys and values of all layers, and each row's window.
        layer: The decoder's layer.
        head_dim: Width of a head.
        shared_splits: Blocks that share the keys of several queries, at most. With more than one,
            sums depend on the number of rows and of new tokens.
    """
    n_queries = q.shape[0] * q.shape[1] * (int(q.shape[2]) // head_dim)
    attended, _ = ops.custom(
        "whisper_gpu_cross_attention",
        gpu(),
        [q, *audio],
        [
            TensorType(q.dtype, q.shape, gpu()),
            TensorType(DType.float32, [n_queries, MAX_SPLITS * (head_dim + 2)], gpu()),
        ],
        {
            "head_dim": head_dim,
            "layer": layer,
            "max_splits": MAX_SPLITS,
            "shared_splits": shared_splits,
        },
    )
    return attended.tensor


def one_tensor(
    name: str,
    values: list[TensorValue],
    shape: ShapeLike,
    dtype: DType = DType.float32,
    parameters: Parameters | None = None,
) -> TensorValue:
    """Builds an operation with one tensor as its result."""
    (result,) = ops.custom(name, gpu(), values, [TensorType(dtype, shape, gpu())], parameters)
    return result.tensor
