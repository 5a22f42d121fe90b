"""Features and sessions of the decoder; sessions share its weights and nothing else.

Several may be open at a time, in any threads.
"""

from collections.abc import Sequence
from typing import Self

import torch

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.session import (
    Alignment,
    AudioFeatures,
    DecoderSession,
    FloatArray,
    Heads,
    IntArray,
)
from implementations.torch_alignment import align_text
from implementations.torch_decoder.decoder import RowsOfWindow, TextDecoder
from implementations.torch_decoder.kv_cache import KV, KVCache
from implementations.torch_tensors import TorchAudioFeatures, float32_array


class DecoderAudioFeatures(TorchAudioFeatures):
    """Encoder output with its cross-attention KV, computed once."""

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__(tensor)
        self._cross_kv: list[KV] | None = None

    def __getitem__(self, index: int) -> Self:
        if len(self) == 1 and index in {0, -1}:
            return self  # with its cross-attention KV, if computed
        return super().__getitem__(index)

    def cross_kv(self, decoder: TextDecoder) -> list[KV]:
        """Returns the cross-attention KV of each layer, computed once (a batch of one)."""
        assert len(self) == 1, "a session decodes one window"
        if self._cross_kv is None:
            self._cross_kv = decoder.compute_cross_kv(self.tensor)
        return self._cross_kv


class TorchDecoderSession(DecoderSession):
    """One window's hypotheses; the cache is this session's own."""

    @torch.inference_mode()
    def __init__(self, decoder: TextDecoder, audio_features: AudioFeatures, n_group: int) -> None:
        self._decoder = decoder
        self._cross_kv = _own(audio_features).cross_kv(decoder)
        self._self_kv: list[KVCache] = decoder.new_cache(n_group)

    @torch.inference_mode()
    def prefill(self, tokens: Sequence[int], positions: Sequence[int]) -> FloatArray:
        """[n_prompt] -> [n_positions, n_vocab]; fed once, then shared by all hypotheses."""
        states = self._feed(torch.tensor([list(tokens)]))
        for layer in self._self_kv:
            layer.share()
        return self._logits(states[0, list(positions)])

    @torch.inference_mode()
    def step(self, tokens: IntArray) -> FloatArray:
        """[n_group] -> [n_group, n_vocab]."""
        return self._logits(self._feed(torch.from_numpy(tokens)[:, None])[:, 0])

    @torch.inference_mode()
    def reorder(self, source_indices: Sequence[int]) -> None:
        """Moves the rows of the cache."""
        for layer in self._self_kv:
            layer.reorder(source_indices)

    def rows(self, first: int, n_group: int) -> RowsOfWindow:
        """Returns the session's rows of a step, from a first one on."""
        return RowsOfWindow(slice(first, first + n_group), self._self_kv, self._cross_kv)

    @property
    def n_filled(self) -> int:
        """Positions in the cache."""
        return self._self_kv[0].n_filled

    def close(self) -> None:
        """Frees the cache."""
        self._self_kv = []

    def _feed(self, tokens: torch.Tensor) -> torch.Tensor:
        """[n_rows, n_new] -> [n_rows, n_new, n_state]."""
        assert self._self_kv, "the session is closed"
        device = self._decoder.positional_embedding.device
        states: torch.Tensor = self._decoder(tokens.to(device), self._self_kv, self._cross_kv)[0]
        return states

    def _logits(self, states: torch.Tensor) -> FloatArray:
        """[n_rows, n_state] -> [n_rows, n_vocab]."""
        logits: FloatArray = self._decoder.logits(states).cpu().numpy()
        return logits


@torch.inference_mode()
def align(
    decoder: TextDecoder,
    audio_features: AudioFeatures,
    tokens: Sequence[int],
    heads: Heads,
) -> Alignment:
    """Returns cross-attention scores of the chosen heads, and logits, over a whole text."""
    scores, states = _scores_and_states(decoder, audio_features, tokens, heads)
    return Alignment(float32_array(scores), float32_array(decoder.logits(states)))


@torch.inference_mode()
def align_texts(
    decoder: TextDecoder, audio_features: AudioFeatures, requests: Sequence[AlignmentRequest]
) -> list[TokenAlignment]:
    """Aligns one text after the other; logits are computed of the texts' tokens alone."""
    found = []
    for i, request in enumerate(requests):
        scores, states = _scores_and_states(
            decoder, audio_features[i], request.tokens, request.heads
        )
        first = len(request.sot_sequence)
        logits = decoder.logits(states[first : first + len(request.text)])
        found.append(align_text(scores, logits, request))
    return found


def _scores_and_states(
    decoder: TextDecoder, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns scores before softmax [n_heads, n_tokens, n_audio_ctx], states [n_tokens, n_state].

    Scores are float32 in every dtype: rounded to bfloat16 they move words.

    Source: `qkv_attention` of whisper/model.py, which scales queries and keys before the matmul.
    """
    cross_kv = _own(audio_features).cross_kv(decoder)
    device = decoder.positional_embedding.device
    states, cross_queries = decoder(
        torch.tensor([list(tokens)], device=device), decoder.new_cache(1), cross_kv
    )
    queries = torch.stack([cross_queries[layer][0, head].float() for layer, head in heads])
    keys = torch.stack([cross_kv[layer][0][0, head].float() for layer, head in heads])
    scale = queries.shape[-1] ** -0.25
    return (queries * scale) @ (keys * scale).transpose(1, 2), states[0]


def _own(audio_features: AudioFeatures) -> DecoderAudioFeatures:
    assert isinstance(audio_features, DecoderAudioFeatures), "features of another implementation"
    return audio_features
