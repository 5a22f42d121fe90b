"""Multi-head attention in its three uses: within the audio, within the text, from text to audio.

Queries, keys and values of self-attention come from one product, `query_key_value`; those of
cross-attention from `query` and, once per window, `key_value`.
"""

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.cpu.graphs.encoder_ops import attend, key_value, query_key_value
from implementations.max_graph.cpu.graphs.layers import LayerNorm, Linear


class SelfAttention:
    """Attention of a sequence to itself."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.n_head, self.n_channels = n_head, n_state // n_head
        self.query_key_value = Linear(f"{name}.query_key_value", n_state, 3 * n_state, dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def all_at_once(self, x: TensorValue, norm: LayerNorm) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> the same shape: each position sees all, then x is added."""
        qkv = query_key_value(x, norm.parts(), self.query_key_value.parts(), self.n_head)
        return attend(qkv, x, self.out.parts())


class CrossAttention:
    """Attention of the text to the audio."""

    def __init__(
        self, name: str, n_state: int, n_head: int, dtype: DType, audio_dtype: DType
    ) -> None:
        self.n_head, self.n_channels = n_head, n_state // n_head
        self.query = Linear(f"{name}.query", n_state, n_state, dtype)
        self.key_value = Linear(f"{name}.key_value", n_state, 2 * n_state, audio_dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def keys_values(self, audio_features: TensorValue) -> tuple[TensorValue, TensorValue]:
        """[n_batch, n_audio_ctx, n_state] -> keys and values, once per window."""
        return key_value(audio_features, self.key_value.parts(), self.n_head)
