"""Features and sessions of the decoder; sessions share its weights and nothing else.

Several may be open at a time, in any threads.
"""

from collections.abc import Sequence
from typing import Self

import torch

from implementations.session import (
    Alignment,
    AudioFeatures,
    DecoderSession,
    FloatArray,
    Heads,
    IntArray,
)
from implementations.torch_decoder.decoder import TextDecoder
from implementations.torch_decoder.kv_cache import KeysValues, KVCache
from implementations.torch_tensors import TorchAudioFeatures, float32_array


class DecoderAudioFeatures(TorchAudioFeatures):
    """Encoder output with what the decoder makes of it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__(tensor)
        self._keys_values: list[KeysValues] | None = None

    def __getitem__(self, index: int) -> Self:
        if len(self) == 1 and index in {0, -1}:
            return self  # with the keys and values that it may have
        return super().__getitem__(index)

    def keys_values(self, decoder: TextDecoder) -> list[KeysValues]:
        """Cross-attention's keys and values of each layer, computed once (a batch of one)."""
        assert len(self) == 1, "a session decodes one window"
        if self._keys_values is None:
            self._keys_values = decoder.hear(self.tensor)
        return self._keys_values


class TorchDecoderSession(DecoderSession):
    """One window's hypotheses; the cache is this session's own."""

    @torch.inference_mode()
    def __init__(self, decoder: TextDecoder, audio_features: AudioFeatures, n_group: int) -> None:
        self._decoder = decoder
        self._audio = _own(audio_features).keys_values(decoder)
        self._past: list[KVCache] = decoder.new_cache(n_group)

    @torch.inference_mode()
    def prefill(self, tokens: Sequence[int], positions: Sequence[int]) -> FloatArray:
        """[n_prompt] -> [n_positions, n_vocab]; fed once, then shared by all hypotheses."""
        states = self._feed(torch.tensor([list(tokens)]))
        for layer in self._past:
            layer.share()
        return self._logits(states[0, list(positions)])

    @torch.inference_mode()
    def step(self, tokens: IntArray) -> FloatArray:
        """[n_group] -> [n_group, n_vocab]."""
        return self._logits(self._feed(torch.from_numpy(tokens)[:, None])[:, 0])

    @torch.inference_mode()
    def reorder(self, source_indices: Sequence[int]) -> None:
        """Move the rows of the cache."""
        for layer in self._past:
            layer.reorder(source_indices)

    def close(self) -> None:
        """Let go of the cache."""
        self._past = []

    def _feed(self, tokens: torch.Tensor) -> torch.Tensor:
        """[n_rows, n_new] -> [n_rows, n_new, n_state]."""
        assert self._past, "the session is closed"
        device = self._decoder.positional_embedding.device
        states: torch.Tensor = self._decoder(tokens.to(device), self._past, self._audio)[0]
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
    """Cross-attention scores of the chosen heads, and logits, over a whole token sequence.

    Source: `qkv_attention` of whisper/model.py, which scales both factors before the product.
    """
    audio = _own(audio_features).keys_values(decoder)
    device = decoder.positional_embedding.device
    states, asked = decoder(
        torch.tensor([list(tokens)], device=device), decoder.new_cache(1), audio
    )
    queries = torch.stack([asked[layer][0, head] for layer, head in heads])
    keys = torch.stack([audio[layer][0][0, head] for layer, head in heads])
    scale = queries.shape[-1] ** -0.25
    scores = (queries * scale) @ (keys * scale).transpose(1, 2)
    return Alignment(float32_array(scores), float32_array(decoder.logits(states[0])))


def _own(audio_features: AudioFeatures) -> DecoderAudioFeatures:
    assert isinstance(audio_features, DecoderAudioFeatures), "features of another implementation"
    return audio_features
