"""The audio encoder as a graph for a GPU, in half precision.

What a product ends with, layer norm before the next one included, belongs to it; so two things run
through the blocks: the state, float32, and the same normalised and rounded.
"""

from dataclasses import dataclass

from max.dtype import DType
from max.graph import Dim, TensorType, TensorValue, ops

from implementations.max_graph.gpu.graphs.blocks import ResidualAttentionBlock
from implementations.max_graph.gpu.graphs.layers import LayerNorm, Linear, weight
from implementations.max_graph.gpu.graphs.ops import GPU, attention, turn
from implementations.max_graph.graphs.encoder_graphs import EncoderGraphs
from weights.dims import ModelDimensions

COLUMNS = 128
"""What the state's width is a multiple of; as in kernels/encoder.mojo."""
_WIDEST_NORM = 8 * COLUMNS
"""Wider states are kept to be normalised; as in kernels/encoder.mojo."""


@dataclass(frozen=True, slots=True)
class _Frames:
    """How a product finds its rows among frames: each beside its two neighbours, or alone."""

    n_taps: int = 1
    stride: int = 1


@dataclass(frozen=True, slots=True)
class _Residual:
    """What is added to a product, and the layer norm that follows."""

    x: TensorValue
    """One with fewer rows is repeated."""
    norm: LayerNorm
    dtype: DType
    """Of what is normalised."""
    is_kept: bool = True
    """Whether the sum itself is asked for, too."""


class HalfEncoder(EncoderGraphs):
    """Log-mel windows to audio features; names as in whisper/model.py."""

    def __init__(self, dims: ModelDimensions, dtype: DType) -> None:
        super().__init__(dims, GPU)
        self.dtype = dtype
        n_state = dims.n_audio_state
        self.conv1 = Linear("encoder.conv1", 3 * dims.n_mels, n_state, dtype)
        self.conv2 = Linear("encoder.conv2", 3 * n_state, n_state, dtype)
        self.blocks = [
            ResidualAttentionBlock(f"encoder.blocks.{i}", n_state, dims.n_audio_head, dtype)
            for i in range(dims.n_audio_layer)
        ]
        self.ln_post = LayerNorm("encoder.ln_post", n_state)

    def __call__(self, mel: TensorValue) -> TensorValue:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> [n_batch, n_audio_ctx, n_audio_state]."""
        _, features = self._run(mel, is_traced=self.dims.n_audio_state > _WIDEST_NORM)
        return features

    def states(self, mel: TensorValue) -> list[TensorValue]:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> n_audio_layer + 1 states before `ln_post`."""
        states, _ = self._run(mel, is_traced=True)
        return states

    def _run(self, mel: TensorValue, *, is_traced: bool) -> tuple[list[TensorValue], TensorValue]:
        """All states, the last one only if traced, and the features."""
        dims = self.dims
        positional = weight("encoder.positional_embedding", (dims.n_audio_ctx, dims.n_audio_state))
        norms = [*(block.attn_ln for block in self.blocks), self.ln_post]
        frames, _ = _product(turn(mel, self.dtype), self.conv1, _Frames(3), gelu=True)
        ending = _Residual(positional, norms[0], self.dtype)
        x, normed = _product(frames, self.conv2, _Frames(3, 2), ending, gelu=True)
        states = [x]
        for block, norm in zip(self.blocks, norms[1:], strict=True):
            is_last = norm is self.ln_post
            qkv, _ = _product(normed, block.attn.query_key_value)
            attended = attention(qkv, block.attn.n_channels)
            dtype = DType.float32 if is_last else self.dtype
            ending = _Residual(x, norm, dtype, is_kept=is_traced or not is_last)
            x, normed = _after_attention(attended, block, ending)
            states.append(x)
        return states, normed


def _product(
    x: TensorValue,
    layer: Linear,
    frames: _Frames = _Frames(),
    ending: _Residual | None = None,
    *,
    gelu: bool = False,
) -> tuple[TensorValue, TensorValue]:
    """[n_batch, n_frames, n_in] -> [n_batch, n_frames / stride, n_out], and that normalised.

    The sum is float32 where there is a residual; without one nothing is normalised.
    """
    matrix, bias = layer.parameters()
    shape: list[Dim | int] = [x.shape[0], int(x.shape[1]) // frames.stride, layer.n_out]
    nothing: list[Dim | int] = [1, 1, 1]
    dtype = x.dtype if ending is None else DType.float32
    types = [
        TensorType(dtype, shape if ending is None or ending.is_kept else nothing, GPU),
        TensorType(x.dtype, nothing, GPU)
        if ending is None
        else TensorType(ending.dtype, shape, GPU),
    ]
    norm = (bias, bias) if ending is None else ending.norm.parameters()
    output, normed = ops.custom(
        "whisper_gpu_product",
        GPU,
        [x, matrix, bias, bias if ending is None else ending.x, *norm],
        types,
        {
            "n_out": layer.n_out,
            "n_taps": frames.n_taps,
            "stride": frames.stride,
            "has_gelu": gelu,
            "has_residual": ending is not None,
            "has_norm": ending is not None,
            "keeps": ending is None or ending.is_kept,
        },
    )
    return output.tensor, normed.tensor


def _after_attention(
    attended: TensorValue, block: ResidualAttentionBlock, ending: _Residual
) -> tuple[TensorValue, TensorValue]:
    """What follows attention in a block: the next state, and that normalised for the next block.

    It is several products or a kernel of its own, as kernels/encoder.mojo decides by the rows.
    """
    shape = list(attended.shape)
    n_state = int(shape[-1])
    f32 = DType.float32
    output, normed, *_ = ops.custom(
        "whisper_gpu_after_attention",
        GPU,
        [
            attended,
            ending.x,
            *block.attn.out.parameters(),
            *block.mlp_ln.parameters(),
            *block.mlp.widen.parameters(),
            *block.mlp.narrow.parameters(),
            *ending.norm.parameters(),
        ],
        [
            TensorType(f32, shape if ending.is_kept else [1, 1, 1], GPU),
            TensorType(ending.dtype, shape, GPU),
            TensorType(f32, shape, GPU),
            TensorType(attended.dtype, shape, GPU),
            TensorType(attended.dtype, [*shape[:-1], 4 * n_state], GPU),
        ],
        {"n_state": n_state, "keeps": ending.is_kept},
    )
    return output.tensor, normed.tensor
