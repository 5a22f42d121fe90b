"""The residual attention block, the same for encoder and decoder but for cross-attention."""

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.cpu.graphs.attention import CrossAttention, SelfAttention
from implementations.max_graph.cpu.graphs.layers import LayerNorm, Linear
from implementations.max_graph.cpu.graphs.ops import mlp


class Mlp:
    """Two dense layers with GELU between them, under upstream's names `mlp.0` and `mlp.2`."""

    def __init__(self, name: str, n_state: int, dtype: DType) -> None:
        self.fc1 = Linear(f"{name}.0", n_state, 4 * n_state, dtype)
        self.fc2 = Linear(f"{name}.2", 4 * n_state, n_state, dtype)


class ResidualAttentionBlock:
    """A block of the encoder."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.attn = SelfAttention(f"{name}.attn", n_state, n_head, dtype)
        self.attn_ln = LayerNorm(f"{name}.attn_ln", n_state)
        self.mlp = Mlp(f"{name}.mlp", n_state, dtype)
        self.mlp_ln = LayerNorm(f"{name}.mlp_ln", n_state)

    def __call__(self, x: TensorValue) -> TensorValue:
        """[n_batch, n_audio_ctx, n_state] -> [n_batch, n_audio_ctx, n_state]."""
        x = self.attn(x, self.attn_ln)
        return mlp(x, self.mlp_ln.operands(), self.mlp.fc1.operands(), self.mlp.fc2.operands())


class CrossAttentionBlock(ResidualAttentionBlock):
    """A block of the decoder."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType, kv_dtype: DType) -> None:
        super().__init__(name, n_state, n_head, dtype)
        self.cross_attn = CrossAttention(f"{name}.cross_attn", n_state, n_head, dtype, kv_dtype)
        self.cross_attn_ln = LayerNorm(f"{name}.cross_attn_ln", n_state)

    def operands(self) -> list[TensorValue]:
        """Returns all weights that a step reads, in the order of `whisper_cpu_bind_block`."""
        layers = (
            *(self.attn_ln, self.attn.qkv, self.attn.out),
            *(self.cross_attn_ln, self.cross_attn.query, self.cross_attn.out),
            *(self.mlp_ln, self.mlp.fc1, self.mlp.fc2),
        )
        return [operand for layer in layers for operand in layer.operands()]
