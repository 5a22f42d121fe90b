"""A random text decoder of two layers: its operands, and its results in float64 numpy.

Its weights and the audio's keys and values are as the operations over decoder steps take them;
texts are computed whole, with no cache.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from implementations.max_graph.cpu.graphs.layouts import n_panels
from tests.support import cpu_kernels
from tests.support.cpu_kernels import N_AUDIO_CTX, N_HEAD, N_LAYER, N_VOCAB
from tests.support.kernel_reference import (
    Array,
    nearest_bfloat16,
    packed,
    packed_keys,
    packed_values,
    random,
)
from tests.support.layers import attention, gelu, heads_of, layer_norm

MATRICES = {"qkv": (3, 1), "out": (1, 1), "cross_q": (1, 1), "cross_out": (1, 1)}
MATRICES |= {"fc1": (4, 1), "fc2": (1, 4)}
"""Outputs and inputs of each, in widths of the state, in the order of a block's operands."""
NORM_BEFORE = {"qkv": "attn_ln", "cross_q": "cross_ln", "fc1": "mlp_ln"}


@dataclass(frozen=True)
class Computed:
    """Keys, values and scores of each layer, and the logits after each token, of a text."""

    logits: Array
    """[n_tokens, n_vocab]."""
    states: Array
    """Last states, from which logits are computed, [n_tokens, n_state]."""
    kv: list[tuple[Array, Array]]
    """Self-attention's keys and values of each layer, [n_head, n_tokens, head_dim]."""
    scores: list[Array]
    """Cross-attention's of each layer, before softmax, [n_head, n_tokens, n_audio_ctx]."""


class RandomDecoder:
    """A decoder with layers in one of `cpu_kernels.DECODERS`."""

    def __init__(
        self, name: str, n_state: int, *, n_text_ctx: int = 70, embedding: Array | None = None
    ) -> None:
        self.name, self.n_state, self.n_text_ctx = name, n_state, n_text_ctx
        self.head_dim = n_state // N_HEAD
        layers = "float16" if name == "bfloat16" else name
        self.blocks = [_block(layers, n_state, 100 * layer) for layer in range(N_LAYER)]
        if embedding is None:
            embedding = random(1, N_VOCAB, n_state, scale=1 / math.sqrt(n_state))
        is_in_two_bytes = name in {"int8", "bfloat16"}
        self.embedding = packed(embedding, "int16" if is_in_two_bytes else name)
        self.positional = random(2, n_text_ctx, n_state, scale=0.5)
        self.ln = [1 + random(3, n_state, scale=0.1), random(4, n_state, scale=0.1)]
        shape = (N_HEAD, N_AUDIO_CTX, self.head_dim)
        audio = [(random(5 + i, *shape), random(7 + i, *shape)) for i in range(N_LAYER)]
        self.audio_dtype = "bfloat16" if name == "bfloat16" else "float32"
        if name == "bfloat16":
            audio = [(nearest_bfloat16(k), nearest_bfloat16(v)) for k, v in audio]
        self.audio = audio
        self._computed: dict[tuple[int, ...], Computed] = {}

    def compute(self, tokens: Sequence[int]) -> Computed:
        """Computes all tokens of a text from its beginning, once for each text."""
        key = tuple(tokens)
        if key not in self._computed:
            self._computed[key] = self._compute(list(tokens))
        return self._computed[key]

    def _compute(self, tokens: list[int]) -> Computed:
        x = self.embedding.matrix[tokens] + self.positional[: len(tokens)]
        kv, scores = [], []
        for block, (audio_k, audio_v) in zip(self.blocks, self.audio, strict=True):
            parts = np.split(block.dense("qkv", x), 3, axis=-1)
            q, k, v = (heads_of(part, N_HEAD) for part in parts)
            kv.append((k, v))
            x = x + block.dense("out", attention(q, k, v, np.tri(q.shape[-2], dtype=bool)))
            q = heads_of(block.dense("cross_q", x), N_HEAD)
            scores.append(q @ audio_k.swapaxes(1, 2) / math.sqrt(self.head_dim))
            x = x + block.dense("cross_out", attention(q, audio_k, audio_v))
            x = x + block.dense("fc2", gelu(block.dense("fc1", x)))
        states = layer_norm(x, *self.ln)
        return Computed(states @ self.embedding.matrix.T, states, kv, scores)

    def new_caches(self, n_slots: int) -> list[Array]:
        """Returns empty caches of keys and values, NaN until they are written."""
        n, text = n_panels(self.n_text_ctx), self.n_text_ctx
        keys, values = (n, self.head_dim, 32), (text, n_panels(self.head_dim) * 32)
        return [
            np.full((n_slots, N_HEAD, *shape), np.nan, np.float32)
            for _ in range(N_LAYER)
            for shape in (keys, values)
        ]

    def fill(self, caches: list[Array], slot: int, computed: Computed, n: int) -> None:
        """Writes the first n keys and values of a text to a slot of the caches."""
        for layer, (k, v) in enumerate(computed.kv):
            panels = packed_keys(k[None, :, :n])[0]
            caches[2 * layer][slot, :, : panels.shape[1]] = panels
            caches[2 * layer + 1][slot, :, :n, : self.head_dim] = v[:, :n]

    def run(self, operation: str, *inputs: Any, caches: list[Array]) -> list[Array]:
        """Runs an operation over this decoder; caches are written in place."""
        from max.driver import Buffer

        audio = [
            part
            for k, v in self.audio
            for part in (
                packed_keys(k[None], self.audio_dtype),
                packed_values(v[None], self.audio_dtype),
            )
        ]
        table = Buffer.from_numpy(np.zeros((N_LAYER, 28), np.int64))
        last = [*self.embedding.operands, self.positional, *self.ln]
        weights = [operand for block in self.blocks for operand in block.operands]
        buffers = [Buffer.from_numpy(cache) for cache in caches]
        operands = [table, *weights, *buffers, *audio, *last]
        return cpu_kernels.run(f"{operation}_{self.name}", *inputs, *operands)


@cache
def decoder(name: str, n_state: int = 128) -> RandomDecoder:
    """Returns a decoder that tests share."""
    return RandomDecoder(name, n_state)


@dataclass(frozen=True)
class Block:
    """A layer's operands in the order of `whisper_cpu_bind_block`, and their meaning."""

    operands: list[Any]
    norms: dict[str, tuple[Array, Array]]
    matrices: dict[str, tuple[Array, Array]]
    """Matrix and bias, by name."""

    def dense(self, name: str, x: Array) -> Array:
        """Computes a dense layer, after the layer norm that comes before it."""
        if name in NORM_BEFORE:
            x = layer_norm(x, *self.norms[NORM_BEFORE[name]])
        matrix, bias = self.matrices[name]
        return x @ matrix.T + bias


def _block(dtype: str, n_state: int, seed: int) -> Block:
    operands: list[Any] = []
    norms, matrices = {}, {}
    for i, (name, (n_out, n_in)) in enumerate(MATRICES.items()):
        if (norm := NORM_BEFORE.get(name)) is not None:
            weight = 1 + random(seed + 4 * i, n_state, scale=0.1)
            norms[norm] = weight, random(seed + 4 * i + 1, n_state, scale=0.1)
            operands += norms[norm]
        scale = 1 / math.sqrt(n_in * n_state)
        shape = (n_out * n_state, n_in * n_state)
        matrix = packed(random(seed + 4 * i + 2, *shape, scale=scale), dtype)
        bias = random(seed + 4 * i + 3, shape[0], scale=0.1)
        matrices[name] = matrix.matrix, bias
        operands += [*matrix.operands, bias]
    return Block(operands, norms, matrices)
