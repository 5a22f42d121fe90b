"""The custom operations of the encoder in half precision, as functions on graph values."""

from collections.abc import Sequence
from dataclasses import dataclass

from max.dtype import DType
from max.graph import Dim, TensorType, TensorValue, ops

from implementations.max_graph.gpu.graphs.ops import GPU

COLUMNS = 128
"""What the state's width is a multiple of; as in kernels/encoder.mojo."""
WIDEST_NORM = 8 * COLUMNS
"""Wider states are kept to be normalised; as in kernels/encoder.mojo."""


@dataclass(frozen=True, slots=True)
class Taps:
    """How a product finds its rows among frames: each beside its two neighbours, or alone."""

    n_taps: int = 1
    stride: int = 1


@dataclass(frozen=True, slots=True)
class ResidualNorm:
    """What is added to a product, and the layer norm that follows."""

    residual: TensorValue
    """One with fewer rows is repeated."""
    weight: TensorValue
    bias: TensorValue
    dtype: DType
    """Of what is normalised."""
    store_output: bool = True
    """Whether the sum itself is asked for, too."""


def encoder_matmul(
    x: TensorValue,
    matrix: TensorValue,
    bias: TensorValue,
    taps: Taps,
    ending: ResidualNorm | None,
    *,
    gelu: bool,
) -> tuple[TensorValue, TensorValue]:
    """[n_batch, n_frames, n_in] -> [n_batch, n_frames / stride, n_out], and that normalised.

    The sum is float32 where there is a residual; without one nothing is normalised.
    """
    n_out = int(matrix.shape[0])
    shape: list[Dim | int] = [x.shape[0], x.shape[1] // taps.stride, n_out]
    nothing: list[Dim | int] = [1, 1, 1]
    if ending is None:
        types = [TensorType(x.dtype, shape, GPU), TensorType(x.dtype, nothing, GPU)]
        extra = (bias, bias, bias)
    else:
        types = [
            TensorType(DType.float32, shape if ending.store_output else nothing, GPU),
            TensorType(ending.dtype, shape, GPU),
        ]
        extra = (ending.residual, ending.weight, ending.bias)
    output, normed = ops.custom(
        "whisper_gpu_product",
        GPU,
        [x, matrix, bias, *extra],
        types,
        {
            "n_out": n_out,
            "n_taps": taps.n_taps,
            "stride": taps.stride,
            "has_gelu": gelu,
            "has_residual": ending is not None,
            "has_norm": ending is not None,
            "keeps": ending is None or ending.store_output,
        },
    )
    return output.tensor, normed.tensor


def encoder_post_attention(
    attended: TensorValue, weights: Sequence[TensorValue], ending: ResidualNorm
) -> tuple[TensorValue, TensorValue]:
    """What follows attention in a block: the next state, and that normalised for the next block.

    It is several products or a kernel of its own, as kernels/encoder.mojo decides by the rows.

    Args:
        attended: [n_batch, n_ctx, n_state].
        weights: Those of the projection, of the MLP's layer norm and of its two layers: of each a
            matrix, or the norm's scale, and a bias.
        ending: What is added to the projection, and the next block's layer norm.
    """
    shape = list(attended.shape)
    n_state = int(shape[-1])
    f32 = DType.float32
    output, normed, *_ = ops.custom(
        "whisper_gpu_after_attention",
        GPU,
        [attended, ending.residual, *weights, ending.weight, ending.bias],
        [
            TensorType(f32, shape if ending.store_output else [1, 1, 1], GPU),
            TensorType(ending.dtype, shape, GPU),
            TensorType(f32, shape, GPU),
            TensorType(attended.dtype, shape, GPU),
            TensorType(attended.dtype, [*shape[:-1], 4 * n_state], GPU),
        ],
        {"n_state": n_state, "keeps": ending.store_output},
    )
    return output.tensor, normed.tensor
