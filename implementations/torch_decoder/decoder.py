"""The text decoder; class and attribute names as in whisper/model.py, so that weights fit by name.

It keeps no state between calls: callers bring the past, and keys and values of what was heard.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from implementations.torch_decoder.kv_cache import KeysValues, KVCache
from weights.dims import ModelDimensions


class LayerNorm(nn.LayerNorm):
    """Computes in float32, whatever it is given."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[..., n_state] -> [..., n_state]."""
        return super().forward(states.float()).to(states.dtype)


class Linear(nn.Linear):
    """Waits for the weights of a checkpoint; until they come its own memory stays untouched."""

    def reset_parameters(self) -> None:
        """Draw no random numbers."""


class Embedding(nn.Embedding):
    """Waits for weights, as `Linear`."""

    def reset_parameters(self) -> None:
        """Draw no random numbers."""


class MultiHeadAttention(nn.Module):
    """Attention of queries to keys and values that were computed before."""

    def __init__(self, n_state: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.query = Linear(n_state, n_state)
        self.key = Linear(n_state, n_state, bias=False)
        self.value = Linear(n_state, n_state)
        self.out = Linear(n_state, n_state)

    def queries(self, states: torch.Tensor) -> torch.Tensor:
        """[n_batch, n_new, n_state] -> [n_batch, n_head, n_new, n_channels]."""
        return self._heads(self.query(states))

    def keys_values(self, states: torch.Tensor) -> KeysValues:
        """[n_batch, n_ctx, n_state] -> two of [n_batch, n_head, n_ctx, n_channels]."""
        return self._heads(self.key(states)), self._heads(self.value(states))

    def forward(
        self, queries: torch.Tensor, past: KeysValues, *, is_causal: bool = False
    ) -> torch.Tensor:
        """[n_batch, n_head, n_new, n_channels] -> [n_batch, n_new, n_state]."""
        found = functional.scaled_dot_product_attention(queries, *past, is_causal=is_causal)
        states: torch.Tensor = self.out(found.transpose(1, 2).flatten(2))
        return states

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.view(*states.shape[:2], self.n_head, -1).transpose(1, 2)


class ResidualAttentionBlock(nn.Module):
    """One layer of the decoder."""

    def __init__(self, n_state: int, n_head: int) -> None:
        super().__init__()
        self.attn = MultiHeadAttention(n_state, n_head)
        self.attn_ln = LayerNorm(n_state)
        self.cross_attn = MultiHeadAttention(n_state, n_head)
        self.cross_attn_ln = LayerNorm(n_state)
        self.mlp = nn.Sequential(
            Linear(n_state, 4 * n_state), nn.GELU(), Linear(4 * n_state, n_state)
        )
        self.mlp_ln = LayerNorm(n_state)

    def forward(
        self, states: torch.Tensor, past: KVCache, audio: KeysValues
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[n_group, n_new, n_state] -> the same, and cross-attention's queries.

        These are [1, n_head, n_group * n_new, n_channels]: all hypotheses hear the same window, so
        that they read its keys and values together.
        """
        new = self.attn_ln(states)
        everything = past.append(*self.attn.keys_values(new))
        states = states + self.attn(
            self.attn.queries(new), everything, is_causal=states.shape[1] > 1
        )
        queries = self.cross_attn.queries(self.cross_attn_ln(states).flatten(0, 1)[None])
        states = states + self.cross_attn(queries, audio).view_as(states)
        return states + self.mlp(self.mlp_ln(states)), queries


class TextDecoder(nn.Module):
    """Tokens to states, for one hypothesis about a window or for several."""

    def __init__(self, dims: ModelDimensions) -> None:
        super().__init__()
        self.dims = dims
        self.token_embedding = Embedding(dims.n_vocab, dims.n_text_state)
        self.positional_embedding = nn.Parameter(torch.empty(dims.n_text_ctx, dims.n_text_state))
        self.layers = [
            ResidualAttentionBlock(dims.n_text_state, dims.n_text_head)
            for _ in range(dims.n_text_layer)
        ]
        self.blocks = nn.ModuleList(self.layers)
        self.ln = LayerNorm(dims.n_text_state)

    def hear(self, audio_features: torch.Tensor) -> list[KeysValues]:
        """[1, n_audio_ctx, n_audio_state] -> keys and values of each layer, once per window.

        Each head's lie together, which every step is 3 % the quicker for.
        """
        layers = (block.cross_attn.keys_values(audio_features) for block in self.layers)
        return [(keys.contiguous(), values.contiguous()) for keys, values in layers]

    def new_cache(self, n_group: int) -> list[KVCache]:
        """An empty past of n_group hypotheses, for each layer."""
        weight = self.token_embedding.weight
        return [KVCache(self.dims, n_group, weight.device, weight.dtype) for _ in self.layers]

    def forward(
        self, tokens: torch.Tensor, past: Sequence[KVCache], audio: Sequence[KeysValues]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """[n_group, n_new] -> states [n_group, n_new, n_state], and each layer's queries.

        A text of several new tokens is fed from its beginning.
        """
        begin = past[0].n_filled
        end = begin + tokens.shape[1]
        embedded = self.token_embedding(tokens)
        states = (embedded + self.positional_embedding[begin:end]).to(embedded.dtype)
        asked = []
        for block, *kept in zip(self.layers, past, audio, strict=True):
            states, queries = block(states, *kept)
            asked.append(queries)
        return self.ln(states), asked

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """[n_rows, n_state] -> [n_rows, n_vocab], float32."""
        return functional.linear(states, self.token_embedding.weight).float()
