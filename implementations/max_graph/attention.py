"""Multi-head attention in its three uses: within the audio, within the text, from text to audio.

Queries, keys and values of self-attention come from one product, `query_key_value`; those of
cross-attention from `query` and, once per window, `key_value`.
"""

from dataclasses import dataclass

from max.dtype import DType
from max.graph import BufferValue, TensorValue

from implementations.max_graph.encoder_ops import attend, key_value, query_key_value
from implementations.max_graph.kernel_ops import attention, cached_attention
from implementations.max_graph.layers import LayerNorm, Linear


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Where one decoder layer keeps the keys and values of the text so far."""

    keys: BufferValue
    values: BufferValue


@dataclass(frozen=True, slots=True)
class AudioKeysValues:
    """What one decoder layer's cross-attention reads of a window."""

    keys: TensorValue
    values: TensorValue


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

    def __call__(self, x: TensorValue, residual: TensorValue, cache: LayerCache) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> the same shape: each position sees those before it."""
        qkv = self.query_key_value(x)
        attended = cached_attention(qkv, cache.keys, cache.values)
        return self.out(attended, residual)


class CrossAttention:
    """Attention of the text to the audio."""

    def __init__(
        self, name: str, n_state: int, n_head: int, dtype: DType, audio_dtype: DType
    ) -> None:
        self.n_head, self.n_channels = n_head, n_state // n_head
        self.query = Linear(f"{name}.query", n_state, n_state, dtype)
        self.key_value = Linear(f"{name}.key_value", n_state, 2 * n_state, audio_dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def keys_values(self, audio_features: TensorValue) -> AudioKeysValues:
        """[n_batch, n_audio_ctx, n_state] -> keys and values, once per window."""
        return AudioKeysValues(*key_value(audio_features, self.key_value.parts(), self.n_head))

    def __call__(
        self, query: TensorValue, residual: TensorValue, audio: AudioKeysValues
    ) -> TensorValue:
        """[n_group, n_new, n_state] -> the same shape; `query` is this layer's own product."""
        return self.out(attention(query, audio.keys, audio.values), residual)
