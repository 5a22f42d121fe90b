"""Multi-head attention in its three uses: within the audio, within the text, from text to audio.

Queries, keys and values of self-attention come from one matmul, `qkv`; those of cross-attention
from `query` and, once per window, `kv`.
"""

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.cpu.graphs.layers import LayerNorm, Linear
from implementations.max_graph.cpu.graphs.ops import attention, kv_projection, qkv_projection


class SelfAttention:
    """Attention of a sequence to itself."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.n_head, self.head_dim = n_head, n_state // n_head
        self.qkv = Linear(f"{name}.qkv", n_state, 3 * n_state, dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def __call__(self, x: TensorValue, norm: LayerNorm) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> the same shape, without a causal mask, plus x."""
        qkv = qkv_projection(x, norm.operands(), self.qkv.operands(), self.n_head)
        return attention(qkv, x, self.out.operands())


class CrossAttention:
    """Attention of the text to the audio."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType, kv_dtype: DType) -> None:
        self.n_head, self.head_dim = n_head, n_state // n_head
        self.query = Linear(f"{name}.query", n_state, n_state, dtype)
        self.kv = Linear(f"{name}.kv", n_state, 2 * n_state, kv_dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def compute_kv(self, audio_features: TensorValue) -> tuple[TensorValue, TensorValue]:
        """[n_batch, n_audio_ctx, n_state] -> keys and values, once per window."""
        return kv_projection(audio_features, self.kv.operands(), self.n_head)
