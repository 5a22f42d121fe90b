"""The residual attention block, the same for encoder and decoder but for cross-attention."""

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.cpu.graphs.attention import CrossAttention, SelfAttention
from implementations.max_graph.cpu.graphs.encoder_ops import mlp
from implementations.max_graph.cpu.graphs.layers import LayerNorm, Linear


class Mlp:
    """Two dense layers with GELU between them, under upstream's names `mlp.0` and `mlp.2`."""

    def __init__(self, name: str, n_state: int, dtype: DType) -> None:
        self.widen = Linear(f"{name}.0", n_state, 4 * n_state, dtype)
        self.narrow = Linear(f"{name}.2", 4 * n_state, n_state, dtype)


class ResidualAttentionBlock:
    """A block of the encoder."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.attn = SelfAttention(f"{name}.attn", n_state, n_head, dtype)
        self.attn_ln = LayerNorm(f"{name}.attn_ln", n_state)
        self.mlp = Mlp(f"{name}.mlp", n_state, dtype)
        self.mlp_ln = LayerNorm(f"{name}.mlp_ln", n_state)

    def __call__(self, x: TensorValue) -> TensorValue:
        """[n_batch, n_audio_ctx, n_state] -> [n_batch, n_audio_ctx, n_state]."""
        x = self.attn.all_at_once(x, self.attn_ln)
        return mlp(x, self.mlp_ln.parts(), self.mlp.widen.parts(), self.mlp.narrow.parts())


class CrossAttentionBlock(ResidualAttentionBlock):
    """A block of the decoder."""

    def __init__(
        self, name: str, n_state: int, n_head: int, dtype: DType, audio_dtype: DType
    ) -> None:
        super().__init__(name, n_state, n_head, dtype)
        self.cross_attn = CrossAttention(f"{name}.cross_attn", n_state, n_head, dtype, audio_dtype)
        self.cross_attn_ln = LayerNorm(f"{name}.cross_attn_ln", n_state)

    def parts(self) -> list[TensorValue]:
        """All weights that a step reads, in the order of `whisper_note_block`."""
        layers = (
            *(self.attn_ln, self.attn.query_key_value, self.attn.out),
            *(self.cross_attn_ln, self.cross_attn.query, self.cross_attn.out),
            *(self.mlp_ln, self.mlp.widen, self.mlp.narrow),
        )
        return [part for layer in layers for part in layer.parts()]
