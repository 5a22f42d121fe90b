"""The audio encoder as a graph for a GPU, in half precision.

A matmul's epilogue includes the layer norm before the next one, so two values run through the
blocks: the state in float32, and the same normalized and rounded.
"""

from max.dtype import DType
from max.graph import DeviceRef, TensorValue

from implementations.max_graph.gpu.graphs.blocks import ResidualAttentionBlock
from implementations.max_graph.gpu.graphs.encoder_ops import (
    MAX_NORM_WIDTH,
    ResidualNorm,
    Taps,
    encoder_matmul,
    encoder_post_attention,
)
from implementations.max_graph.gpu.graphs.layers import LayerNorm, Linear, weight
from implementations.max_graph.gpu.graphs.ops import attention, transpose
from implementations.max_graph.graphs.encoder_graphs import EncoderGraphs, LayerTypes
from weights.dims import ModelDimensions


class HalfEncoder(EncoderGraphs[Linear, ResidualAttentionBlock, LayerNorm]):
    """Log-mel windows to audio features."""

    def __init__(self, dims: ModelDimensions, dtype: DType, device: DeviceRef) -> None:
        super().__init__(
            dims, dtype, device, LayerTypes(_linear_over_taps, ResidualAttentionBlock, LayerNorm)
        )

    def __call__(self, mel: TensorValue) -> TensorValue:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> [n_batch, n_audio_ctx, n_audio_state]."""
        _, features = self._run(mel, is_traced=self.dims.n_audio_state > MAX_NORM_WIDTH)
        return features

    def states(self, mel: TensorValue) -> list[TensorValue]:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> n_audio_layer + 1 states before `ln_post`."""
        states, _ = self._run(mel, is_traced=True)
        return states

    def _run(self, mel: TensorValue, *, is_traced: bool) -> tuple[list[TensorValue], TensorValue]:
        """Returns all states, the last one only if traced, and the features."""
        dims = self.dims
        positional = weight("encoder.positional_embedding", (dims.n_audio_ctx, dims.n_audio_state))
        norms = [*(block.attn_ln for block in self.blocks), self.ln_post]
        mel = transpose(mel, self.dtype)
        frames, _ = encoder_matmul(mel, *self.conv1.parameters(), Taps(3), None, gelu=True)
        ending = ResidualNorm(positional, *norms[0].parameters(), self.dtype)
        conv2 = self.conv2.parameters()
        x, normed = encoder_matmul(frames, *conv2, Taps(3, 2), ending, gelu=True)
        states = [x]
        for block, norm in zip(self.blocks, norms[1:], strict=True):
            is_last = norm is self.ln_post
            qkv = block.attn.qkv.parameters()
            projected, _ = encoder_matmul(normed, *qkv, Taps(), None, gelu=False)
            attended = attention(projected, block.attn.head_dim)
            dtype = DType.float32 if is_last else self.dtype
            stored = is_traced or not is_last
            ending = ResidualNorm(x, *norm.parameters(), dtype, store_output=stored)
            x, normed = encoder_post_attention(attended, _post_attention(block), ending)
            states.append(x)
        return states, normed


def _linear_over_taps(name: str, n_in: int, n_out: int, dtype: DType) -> Linear:
    """Returns a convolution with kernel size 3 as a dense layer over three neighbouring frames."""
    return Linear(name, 3 * n_in, n_out, dtype)


def _post_attention(block: ResidualAttentionBlock) -> list[TensorValue]:
    """Returns weights of the projection, of the MLP's layer norm and of its two layers."""
    layers: list[Linear | LayerNorm] = [
        block.attn.out,
        block.mlp_ln,
        block.mlp.widen,
        block.mlp.narrow,
    ]
    return [tensor for layer in layers for tensor in layer.parameters()]
