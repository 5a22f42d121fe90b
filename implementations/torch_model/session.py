"""Decoding sessions over openai-whisper's decoder, with its hook-filled KV cache.

Upstream's hooks belong to the model, so only one session can be open at a time: the caller passes
a lock, which is held from opening to closing.
"""

import threading
from collections.abc import Sequence

import torch
from whisper.model import MultiHeadAttention, Whisper

from implementations.session import DecoderSession, FloatArray, Heads, IntArray


class TorchSession(DecoderSession):
    """One window's hypotheses on openai-whisper's decoder."""

    def __init__(
        self, model: Whisper, audio_features: torch.Tensor, n_group: int, lock: threading.RLock
    ) -> None:
        lock.acquire()
        self._lock: threading.RLock | None = lock
        self._model = model
        self._audio_features = audio_features
        self._n_group = n_group
        self._kv_cache, self._hooks = model.install_kv_cache_hooks()

    def prefill(self, tokens: Sequence[int], positions: Sequence[int]) -> FloatArray:
        """[n_prompt] -> [n_positions, n_vocab]; all rows are fed alike, as upstream does."""
        prompt = torch.tensor([list(tokens)]).repeat(self._n_group, 1)
        return self._logits(prompt)[0, list(positions)].cpu().numpy()

    def step(self, tokens: IntArray) -> FloatArray:
        """[n_group] -> [n_group, n_vocab]."""
        return self._logits(torch.from_numpy(tokens)[:, None])[:, -1].cpu().numpy()

    def reorder(self, source_indices: Sequence[int]) -> None:
        """Gathers the self-attention rows; cross-attention KV is the same for all."""
        if list(source_indices) == list(range(self._n_group)):
            return
        for block in self._model.decoder.blocks:
            for module in (block.attn.key, block.attn.value):
                self._kv_cache[module] = self._kv_cache[module][list(source_indices)]

    def close(self) -> None:
        """Removes the hooks from the model and admits the next session."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._kv_cache = {}
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @torch.inference_mode()
    def _logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """[n_group, n_new] -> [n_group, n_new, n_vocab]."""
        tokens = tokens.to(self._audio_features.device)
        logits: torch.Tensor = self._model.decoder(
            tokens, self._audio_features, kv_cache=self._kv_cache
        )
        return logits


def float32_scores(
    attention: MultiHeadAttention, text: torch.Tensor, audio: torch.Tensor
) -> torch.Tensor:
    """[1, n_tokens, n_state], [1, n_audio_ctx, n_state] -> [n_head, n_tokens, n_audio_ctx]."""
    queries, keys = (
        states[0].float().unflatten(-1, (attention.n_head, -1)).transpose(0, 1)
        for states in (attention.query(text), attention.key(audio))
    )
    scale = queries.shape[-1] ** -0.25
    return (queries * scale) @ (keys * scale).transpose(1, 2)


@torch.inference_mode()
def cross_attention(
    model: Whisper,
    audio_features: torch.Tensor,
    tokens: Sequence[int],
    heads: Heads,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns scores before softmax of the chosen heads, and logits, over a whole token sequence.

    [n_tokens] -> ([n_heads, n_tokens, n_audio_ctx], [n_tokens, n_vocab])

    In float32 they are upstream's own. In half precision, to which upstream rounds them, they are
    computed again in float32: rounded to bfloat16 they move words.

    Source: `find_alignment` of whisper/timing.py.
    """
    from whisper.model import disable_sdpa

    scores: dict[int, torch.Tensor] = {}

    def hook_scores(layer: int) -> torch.utils.hooks.RemovableHandle:
        def save(
            module: MultiHeadAttention,
            inputs: tuple[torch.Tensor, torch.Tensor],
            outputs: list[torch.Tensor],
        ) -> None:
            is_exact = inputs[0].dtype == torch.float32
            scores[layer] = outputs[-1][0] if is_exact else float32_scores(module, *inputs)

        return model.decoder.blocks[layer].cross_attn.register_forward_hook(save)

    hooks = [hook_scores(layer) for layer in sorted({layer for layer, _ in heads})]
    try:
        with disable_sdpa():
            logits = model.decoder(
                torch.tensor([list(tokens)], device=audio_features.device), audio_features
            )
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([scores[layer][head] for layer, head in heads]), logits[0]
