"""Multi-head attention in its three uses: within the audio, within the text, from text to audio.

Queries, keys and values of self-attention come from one matmul, `qkv`. Keys and values of
cross-attention come from one matmul over the window, for all layers at once.
"""

from dataclasses import dataclass

from max.dtype import DType
from max.graph import BufferValue, TensorValue

from implementations.max_graph.gpu.graphs.layers import LayerNorm, Linear
from implementations.max_graph.gpu.graphs.ops import (
    attention,
    cross_attention,
    self_attention_kv_cache,
)


@dataclass(frozen=True, slots=True)
class SelfKV:
    """KV cache of the text so far, for all decoder layers."""

    cache: BufferValue
    """[n_layer, n_slots, n_text_ctx, 2 * n_state]."""
    offsets: TensorValue
    """[n_rows]: positions that each row has filled."""
    slots: BufferValue
    """[n_rows, n_text_ctx]: slot of the cache for each position of a row."""


@dataclass(frozen=True, slots=True)
class CrossKV:
    """Keys and values of the audio, for cross-attention in all decoder layers."""

    kv: TensorValue
    """[n_windows, n_audio_ctx, n_layer * 2 * n_state]."""
    windows: TensorValue
    """[n_rows]: window of each row."""
    shared_splits: int = 1
    """Blocks that share the keys of several queries, at most."""


class SelfAttention:
    """Attention of a sequence to itself."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.head_dim = n_state // n_head
        self.qkv = Linear(f"{name}.qkv", n_state, 3 * n_state, dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def __call__(
        self, x: TensorValue, norm: LayerNorm, past: SelfKV | None = None, layer: int = 0
    ) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> the same shape, x added; causal where there is a past."""
        qkv = self.qkv(x, norm)
        if past is None:
            attended = attention(qkv, self.head_dim)
        else:
            attended = self_attention_kv_cache(
                qkv, past.cache, past.offsets, past.slots, layer, self.head_dim
            )
        return self.out(attended, residual=x)


class CrossAttention:
    """Attention of the text to the audio."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.head_dim = n_state // n_head
        self.query = Linear(f"{name}.query", n_state, n_state, dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def __call__(
        self, x: TensorValue, query: TensorValue, audio: CrossKV, layer: int
    ) -> TensorValue:
        """[n_rows, n_new, n_state] -> the same shape, x added; `query` is this layer's own."""
        attended = cross_attention(
            query,
            (audio.kv, audio.windows),
            layer,
            self.head_dim,
            shared_splits=audio.shared_splits,
        )
        return self.out(attended, residual=x)
