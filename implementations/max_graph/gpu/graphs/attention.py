"""Multi-head attention in its three uses: within the audio, within the text, from text to audio.

Queries, keys and values of self-attention come from one product, `query_key_value`. The keys and
values of cross-attention come for all layers at once from one product over the window.
"""

from dataclasses import dataclass

from max.dtype import DType
from max.graph import BufferValue, TensorValue

from implementations.max_graph.gpu.graphs.layers import LayerNorm, Linear
from implementations.max_graph.gpu.graphs.ops import attention, audio_attention, cached_attention


@dataclass(frozen=True, slots=True)
class TextPast:
    """Where all decoder layers keep the keys and values of the text so far."""

    cache: BufferValue
    """[n_layer, n_slots, n_text_ctx, 2 * n_state]."""
    offsets: TensorValue
    """[n_rows]: positions that each row has filled."""
    slots: BufferValue
    """[n_rows, n_text_ctx]: in which slot of the cache each position of a row is kept."""


@dataclass(frozen=True, slots=True)
class HeardAudio:
    """What cross-attention of all decoder layers reads."""

    keys_values: TensorValue
    """[n_windows, n_audio_ctx, n_layer * 2 * n_state]."""
    windows: TensorValue
    """[n_rows]: which window each row listens to."""


class SelfAttention:
    """Attention of a sequence to itself."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.n_channels = n_state // n_head
        self.query_key_value = Linear(f"{name}.query_key_value", n_state, 3 * n_state, dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def __call__(
        self, x: TensorValue, norm: LayerNorm, past: TextPast | None = None, layer: int = 0
    ) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> the same shape, x added; causal where there is a past."""
        qkv = self.query_key_value(x, norm)
        if past is None:
            attended = attention(qkv, self.n_channels)
        else:
            attended = cached_attention(
                qkv, past.cache, past.offsets, past.slots, layer, self.n_channels
            )
        return self.out(attended, residual=x)


class CrossAttention:
    """Attention of the text to the audio."""

    def __init__(self, name: str, n_state: int, n_head: int, dtype: DType) -> None:
        self.n_channels = n_state // n_head
        self.query = Linear(f"{name}.query", n_state, n_state, dtype)
        self.out = Linear(f"{name}.out", n_state, n_state, dtype)

    def __call__(
        self, x: TensorValue, query: TensorValue, audio: HeardAudio, layer: int
    ) -> TensorValue:
        """[n_rows, n_new, n_state] -> the same shape, x added; `query` is this layer's own."""
        attended = audio_attention(query, audio.keys_values, audio.windows, layer, self.n_channels)
        return self.out(attended, residual=x)
