"""The residual attention block, the same for encoder and decoder but for cross-attention."""

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.attention import (
    CrossAttention,
    CrossKV,
    SelfAttention,
    SelfKV,
)
from implementations.max_graph.gpu.graphs.layers import LayerNorm, Linear


class Mlp:
    """Two dense layers with GELU between them, under upstream's names `mlp.0` and `mlp.2`."""

    def __init__(self, name: str, n_state: int, dtype: DType) -> None:
        self.widen = Linear(f"{name}.0", n_state, 4 * n_state, dtype)
        self.narrow = Linear(f"{name}.2", 4 * n_state, n_state, dtype)

    def __call__(self, x: TensorValue, norm: LayerNorm) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> the same shape, x added."""
        return self.narrow(self.widen(x, norm, gelu=True), residual=x)


class ResidualAttentionBlock:
    """A block of the encoder."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.attn = SelfAttention(f"{name}.attn", n_state, n_head, dtype)
        self.attn_ln = LayerNorm(f"{name}.attn_ln", n_state)
        self.mlp = Mlp(f"{name}.mlp", n_state, dtype)
        self.mlp_ln = LayerNorm(f"{name}.mlp_ln", n_state)

    def __call__(self, x: TensorValue) -> TensorValue:
        """[n_batch, n_audio_ctx, n_state] -> [n_batch, n_audio_ctx, n_state]."""
        return self.mlp(self.attn(x, self.attn_ln), self.mlp_ln)


class CrossAttentionBlock(ResidualAttentionBlock):
    """A block of the decoder."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        super().__init__(name, n_state, n_head, dtype)
        self.cross_attn = CrossAttention(f"{name}.cross_attn", n_state, n_head, dtype)
        self.cross_attn_ln = LayerNorm(f"{name}.cross_attn_ln", n_state)

    def step(
        self, x: TensorValue, past: SelfKV, audio: CrossKV, layer: int
    ) -> tuple[TensorValue, TensorValue]:
        """[n_rows, n_new, n_state] -> the same shape, and the cross-attention's queries."""
        x = self.attn(x, self.attn_ln, past, layer)
        query = self.cross_attn.query(x, self.cross_attn_ln)
        x = self.cross_attn(x, query, audio, layer)
        return self.mlp(x, self.mlp_ln), query
