"""The custom operations of `kernels/`, as functions on graph values.

Shapes are given and checked here; what an operation computes is written beside its Mojo source.
"""

from dataclasses import dataclass
from pathlib import Path

from max.dtype import DType
from max.graph import BufferValue, DeviceRef, Graph, ShapeLike, TensorType, TensorValue, Weight, ops

from implementations.log_mel import HOP_LENGTH, N_FFT

KERNELS = Path(__file__).parent / "kernels"
CPU = DeviceRef.CPU()
N_THREADS = Weight("n_threads", DType.int32, (1,), CPU)
"""Threads that an operation may use, 0 for all: the runtime's own setting for it aborts."""


NO_SCALES = Weight("no_scales", DType.float32, (1,), CPU)
"""Stands where a matrix that needs none would have its scales."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A factor [n_out, n_in] of products, in the graph being built."""

    panels: TensorValue
    """[n_panels, n_in, PANEL]."""
    scales: TensorValue
    """[n_panels * PANEL] of integers, one for each row of the matrix; otherwise not read."""


def linear(
    x: TensorValue,
    matrix: Matrix,
    bias: TensorValue,
    residual: TensorValue | None = None,
    *,
    gelu: bool = False,
) -> TensorValue:
    """[n_batch, n_ctx, n_in] -> [n_batch, n_ctx, n_out], GELU before the residual is added."""
    return _tensor(
        "whisper_linear",
        [
            x,
            matrix.panels,
            matrix.scales,
            bias,
            x if residual is None else residual,
            n_threads(),
        ],
        [x.shape[0], x.shape[1], bias.shape[0]],
        has_gelu=gelu,
        has_residual=residual is not None,
    )


def project(x: TensorValue, matrix: Matrix, n_out: int) -> TensorValue:
    """[n_batch, n_ctx, n_in] -> [n_batch, n_ctx, n_out]."""
    return _tensor(
        "whisper_project",
        [x, matrix.panels, matrix.scales, n_threads()],
        [x.shape[0], x.shape[1], n_out],
    )


def layer_norm(x: TensorValue, weight: TensorValue, bias: TensorValue) -> TensorValue:
    """[n_batch, n_ctx, n_state] -> the same shape."""
    return _tensor("whisper_layer_norm", [x, weight, bias, n_threads()], x.shape)


def embed_tokens(tokens: TensorValue, embedding: Matrix, positional: TensorValue) -> TensorValue:
    """[1, n_new] tokens from the first position on -> [1, n_new, n_state]."""
    return _tensor(
        "whisper_embed_tokens",
        [tokens, embedding.panels, embedding.scales, positional],
        [tokens.shape[0], tokens.shape[1], positional.shape[1]],
    )


def select_rows(x: TensorValue, rows: TensorValue) -> TensorValue:
    """[1, n_new, n_state], row numbers [n_rows] -> [1, n_rows, n_state]."""
    return _tensor("whisper_select_rows", [x, rows], [1, rows.shape[0], x.shape[2]])


def attention(q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
    """[n_batch, n_ctx, n_state (+ more columns)] -> [n_batch, n_ctx, n_state].

    All queries see all keys; where keys have a batch of one, it serves every batch of queries.
    """
    n_state = int(keys.shape[1]) * int(keys.shape[3])
    return _tensor(
        "whisper_attention", [q, keys, values, n_threads()], [q.shape[0], q.shape[1], n_state]
    )


def cached_attention(qkv: TensorValue, keys: BufferValue, values: BufferValue) -> TensorValue:
    """[1, n_new, 3 * n_state] -> [1, n_new, n_state], causal; begins the cache's first slot."""
    n_state = int(keys.shape[1]) * int(keys.shape[3])
    (attended,) = ops.inplace_custom(
        "whisper_cached_attention",
        CPU,
        [keys, values, qkv, n_threads()],
        [TensorType(DType.float32, [qkv.shape[0], qkv.shape[1], n_state], CPU)],
    )
    return attended.tensor


def store_attention_scores(
    scores: BufferValue, q: TensorValue, keys: TensorValue, heads: TensorValue, layer: int
) -> None:
    """Fill scores [n_heads, n_new, n_ctx] for those of heads [n_heads, 2] that are of `layer`."""
    ops.inplace_custom(
        "whisper_attention_scores",
        CPU,
        [scores, q, keys, heads, ops.constant([layer], DType.int32, CPU)],
    )


def log_mel(
    samples: TensorValue,
    filters: TensorValue,
    window: TensorValue,
    cosines: TensorValue,
    sines: TensorValue,
) -> TensorValue:
    """[n_samples], [n_mels, 201] -> log10 of band power, [n_frames, n_mels]."""
    n_frames = (samples.shape[0] - N_FFT) // HOP_LENGTH + 1
    return _tensor(
        "whisper_log_mel",
        [samples, filters, window, cosines, sines, n_threads()],
        [n_frames, filters.shape[0]],
    )


def n_threads() -> TensorValue:
    """The user's thread count, [1]."""
    return Graph.current.add_weight(N_THREADS)


def _tensor(
    name: str,
    values: list[TensorValue],
    shape: ShapeLike,
    **parameters: bool | int,
) -> TensorValue:
    """An operation with one float32 tensor as its result."""
    (result,) = ops.custom(
        name, CPU, values, [TensorType(DType.float32, shape, CPU)], parameters or None
    )
    return result.tensor
