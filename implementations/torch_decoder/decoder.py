"""The text decoder; class and attribute names as in whisper/model.py, so that weights fit by name.

It keeps no state between calls: callers pass the KV caches of self- and cross-attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from implementations.torch_decoder.kv_cache import KV, KVCache
from weights.dims import ModelDimensions


class LayerNorm(nn.LayerNorm):
    """Layer norm that computes in float32, whatever the input dtype."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[..., n_state] -> [..., n_state]."""
        return super().forward(states.float()).to(states.dtype)


class Linear(nn.Linear):
    """Linear layer whose own memory stays untouched until a checkpoint's weights replace it."""

    def reset_parameters(self) -> None:
        """Draws no random numbers."""


class Embedding(nn.Embedding):
    """Embedding whose own memory stays untouched until a checkpoint's weights replace it."""

    def reset_parameters(self) -> None:
        """Draws no random numbers."""


class MultiHeadAttention(nn.Module):
    """Attention of queries to precomputed keys and values."""

    def __init__(self, n_state: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.query = Linear(n_state, n_state)
        self.key = Linear(n_state, n_state, bias=False)
        self.value = Linear(n_state, n_state)
        self.out = Linear(n_state, n_state)

    def queries(self, states: torch.Tensor) -> torch.Tensor:
        """[n_batch, n_new, n_state] -> [n_batch, n_head, n_new, head_dim]."""
        return self._heads(self.query(states))

    def kv(self, states: torch.Tensor) -> KV:
        """[n_batch, n_ctx, n_state] -> two of [n_batch, n_head, n_ctx, head_dim]."""
        return self._heads(self.key(states)), self._heads(self.value(states))

    def forward(self, queries: torch.Tensor, kv: KV, *, is_causal: bool = False) -> torch.Tensor:
        """[n_batch, n_head, n_new, head_dim] -> [n_batch, n_new, n_state]."""
        attended = functional.scaled_dot_product_attention(queries, *kv, is_causal=is_causal)
        return self.project(attended)

    def project(self, attended: torch.Tensor) -> torch.Tensor:
        """[n_batch, n_head, n_new, head_dim] -> [n_batch, n_new, n_state]."""
        states: torch.Tensor = self.out(attended.transpose(1, 2).flatten(2))
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
        self, states: torch.Tensor, self_kv: KVCache, cross_kv: KV
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[n_group, n_new, n_state] -> the same, and cross-attention's queries.

        The queries are [1, n_head, n_group * n_new, head_dim]: all hypotheses attend to the same
        window and read its keys and values together.
        """
        new = self.attn_ln(states)
        kv = self_kv.append(*self.attn.kv(new))
        states = states + self.attn(self.attn.queries(new), kv, is_causal=states.shape[1] > 1)
        queries = self.cross_attn.queries(self.cross_attn_ln(states).flatten(0, 1)[None])
        states = states + self.cross_attn(queries, cross_kv).view_as(states)
        return states + self.mlp(self.mlp_ln(states)), queries

    def step_rows(
        self, states: torch.Tensor, windows: Sequence["RowsOfWindow"], layer: int
    ) -> torch.Tensor:
        """[n_rows, 1, n_state] -> the same; dense layers are of all rows, attention of a window."""
        new = self.attn_ln(states)
        queries, (keys, values) = self.attn.queries(new), self.attn.kv(new)
        attended = []
        for window in windows:
            of_rows = window.rows
            kv = window.self_kv[layer].append(keys[of_rows], values[of_rows])
            attended.append(functional.scaled_dot_product_attention(queries[of_rows], *kv))
        states = states + self.attn.project(torch.cat(attended))
        queries = self.cross_attn.queries(self.cross_attn_ln(states)).transpose(0, 2)
        attended = [
            functional.scaled_dot_product_attention(
                queries[:, :, window.rows], *window.cross_kv[layer]
            )
            for window in windows
        ]
        states = states + self.cross_attn.project(torch.cat(attended, dim=2).transpose(0, 2))
        return states + self.mlp(self.mlp_ln(states))


@dataclass(frozen=True, slots=True)
class RowsOfWindow:
    """A window's part of the rows of a step: a row for each hypothesis."""

    rows: slice
    self_kv: Sequence[KVCache]
    """Cache of each layer."""
    cross_kv: Sequence[KV]


class TextDecoder(nn.Module):
    """Decoder from tokens to states, for one or several hypotheses about a window."""

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

    def compute_cross_kv(self, audio_features: torch.Tensor) -> list[KV]:
        """[1, n_audio_ctx, n_audio_state] -> cross-attention KV of each layer, once per window.

        They are contiguous by head, which makes every step faster.
        """
        layers = (block.cross_attn.kv(audio_features) for block in self.layers)
        return [(keys.contiguous(), values.contiguous()) for keys, values in layers]

    def new_cache(self, n_group: int) -> list[KVCache]:
        """Returns an empty KV cache of n_group hypotheses for each layer."""
        weight = self.token_embedding.weight
        return [KVCache(self.dims, n_group, weight.device, weight.dtype) for _ in self.layers]

    def forward(
        self, tokens: torch.Tensor, self_kv: Sequence[KVCache], cross_kv: Sequence[KV]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """[n_group, n_new] -> states [n_group, n_new, n_state], and each layer's queries.

        Several new tokens at once must begin the text.
        """
        begin = self_kv[0].n_filled
        end = begin + tokens.shape[1]
        embedded = self.token_embedding(tokens)
        states = (embedded + self.positional_embedding[begin:end]).to(embedded.dtype)
        cross_queries = []
        for block, *kv in zip(self.layers, self_kv, cross_kv, strict=True):
            states, queries = block(states, *kv)
            cross_queries.append(queries)
        return self.ln(states), cross_queries

    def step_rows(
        self, tokens: torch.Tensor, positions: torch.Tensor, windows: Sequence[RowsOfWindow]
    ) -> torch.Tensor:
        """One token for each hypothesis of several windows: [n_rows] -> states [n_rows, n_state].

        `positions` are those of the tokens, [n_rows].
        """
        embedded = self.token_embedding(tokens)
        states = (embedded + self.positional_embedding[positions]).to(embedded.dtype)[:, None]
        for layer, block in enumerate(self.layers):
            states = block.step_rows(states, windows, layer)
        normed: torch.Tensor = self.ln(states)[:, 0]
        return normed

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """[n_rows, n_state] -> [n_rows, n_vocab], float32."""
        return functional.linear(states, self.token_embedding.weight).float()
