"""Multi-head attention in its three uses: within the audio, within the text, from text to audio.

Queries, keys and values of self-attention come from one product, `query_key_value`; those of
cross-attention from `query` and, once per window, `key_value`.
"""

from dataclasses import dataclass

from max.dtype import DType
from max.graph import BufferValue, TensorValue

from implementations.max_graph.kernel_ops import attention, cached_attention, split_keys_values
from implementations.max_graph.layers import Linear


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Where one decoder layer keeps the keys and values of the text so far."""

    keys: BufferValue
    values: BufferValue
    offset: TensorValue
    """[1]: positions already filled."""
    sources: TensorValue
    """[n_group]: the row from which each hypothesis goes on."""


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

    def __call__(
        self, x: TensorValue, residual: TensorValue, cache: LayerCache | None = None
    ) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> the same shape; causal where there is a cache."""
        qkv = self.query_key_value(x)
        if cache is None:
            keys, values = split_keys_values(qkv, self.n_head, self.n_channels)
            attended = attention(qkv, keys, values)
        else:
            attended = cached_attention(qkv, cache.keys, cache.values, cache.offset, cache.sources)
        return self.out(attended, residual)


class CrossAttention:
    """Attention of the text to the audio."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.n_head, self.n_channels = n_head, n_state // n_head
        self.query = Linear(f"{name}.query", n_state, n_state, dtype)
        self.key_value = Linear(f"{name}.key_value", n_state, 2 * n_state, dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def keys_values(self, audio_features: TensorValue) -> AudioKeysValues:
        """[n_batch, n_audio_ctx, n_state] -> keys and values, once per window."""
        keys_values = self.key_value(audio_features)
        return AudioKeysValues(*split_keys_values(keys_values, self.n_head, self.n_channels))

    def __call__(
        self, query: TensorValue, residual: TensorValue, audio: AudioKeysValues
    ) -> TensorValue:
        """[n_group, n_new, n_state] -> the same shape; `query` is this layer's own product."""
        return self.out(attention(query, audio.keys, audio.values), residual)
