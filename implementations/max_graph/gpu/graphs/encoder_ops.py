"""The custom operations of the encoder in half precision, as functions on graph values."""

from collections.abc import Sequence
from dataclasses import dataclass

from max.dtype import DType
from max.graph import Dim, TensorType, TensorValue, ops

from implementations.max_graph.gpu.graphs.ops import gpu, is_portable

COLUMNS = 128
"""Output columns of a block; the width of a state is a multiple of it."""
MAX_NORM_WIDTH = 8 * COLUMNS
"""Widest state whose layer norm is part of a matmul; wider sums are always stored."""


@dataclass(frozen=True, slots=True)
class Taps:
    """Frames of a row: one alone, or, for a convolution, each beside its two neighbours."""

    n_taps: int = 1
    stride: int = 1


@dataclass(frozen=True, slots=True)
class ResidualNorm:
    """Residual that is added to a matmul, and the layer norm of the sum."""

    residual: TensorValue
    """One with fewer rows is repeated."""
    weight: TensorValue
    bias: TensorValue
    dtype: DType
    """Type of the normalized sum."""
    store_output: bool = True
    """False where only the normalized sum is wanted."""


def encoder_matmul(
    x: TensorValue,
    matrix: TensorValue,
    bias: TensorValue,
    taps: Taps,
    ending: ResidualNorm | None,
    *,
    gelu: bool,
) -> tuple[TensorValue, TensorValue]:
    """[n_batch, n_frames, n_in] -> [n_batch, n_frames / stride, n_out], and that normalized.

    The sum is float32 where there is a residual; without one nothing is normalized.
    """
    n_out = int(matrix.shape[0])
    # Portable kernels normalize sums that are stored.
    is_stored = ending is None or ending.store_output or is_portable()
    shape: list[Dim | int] = [x.shape[0], x.shape[1] // taps.stride, n_out]
    unused: list[Dim | int] = [1, 1, 1]
    if ending is None:
        types = [TensorType(x.dtype, shape, gpu()), TensorType(x.dtype, unused, gpu())]
        extra = (bias, bias, bias)
    else:
        types = [
            TensorType(DType.float32, shape if is_stored else unused, gpu()),
            TensorType(ending.dtype, shape, gpu()),
        ]
        extra = (ending.residual, ending.weight, ending.bias)
    output, normed = ops.custom(
        "whisper_gpu_encoder_matmul",
        gpu(),
        [x, matrix, bias, *extra],
        types,
        {
            "n_out": n_out,
            "n_taps": taps.n_taps,
            "stride": taps.stride,
            "has_gelu": gelu,
            "has_residual_norm": ending is not None,
            "store_output": is_stored,
            "columns": COLUMNS,
            "max_norm_width": MAX_NORM_WIDTH,
            "portable": is_portable(),
        },
    )
    return output.tensor, normed.tensor


def encoder_post_attention(
    attended: TensorValue, weights: Sequence[TensorValue], ending: ResidualNorm
) -> tuple[TensorValue, TensorValue]:
    """Computes a block after its attention: the next state, and that normalized for the next block.

    It is three matmuls or one kernel, which the operation decides by the number of rows.

    Args:
        attended: [n_batch, n_ctx, n_state].
        weights: Weight and bias of the projection, the MLP's layer norm, and its two layers.
        ending: The block's state, which is added to the projection, and the next layer norm.
    """
    shape = list(attended.shape)
    n_state = int(shape[-1])
    f32 = DType.float32
    output, normed, *_ = ops.custom(
        "whisper_gpu_encoder_post_attention",
        gpu(),
        [attended, ending.residual, *weights, ending.weight, ending.bias],
        [
            TensorType(f32, shape if ending.store_output else [1, 1, 1], gpu()),
            TensorType(ending.dtype, shape, gpu()),
            TensorType(f32, shape, gpu()),
            TensorType(attended.dtype, shape, gpu()),
            TensorType(attended.dtype, [*shape[:-1], 4 * n_state], gpu()),
        ],
        {
            "n_state": n_state,
            "store_output": ending.store_output,
            "portable": is_portable(),
        },
    )
    return output.tensor, normed.tensor
