"""Decoder sessions on the CPU's graphs; it compiles nothing and holds no weights."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from max.driver import CPU, Buffer
from max.dtype import DType

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.max_graph.cpu.engine import Model
from implementations.max_graph.cpu.kv_cache import KVCache
from implementations.max_graph.features import MaxAudioFeatures
from implementations.max_graph.token_state import hypothesis_states, rule_mask, rule_numbers
from implementations.request import TokenRules
from implementations.session import Alignment, DecoderSession, FloatArray, Heads, IntArray
from weights.dims import ModelDimensions


@dataclass(frozen=True, slots=True)
class DecoderModels:
    """The decoder's compiled graphs with their weights, and the lock under which they run."""

    dims: ModelDimensions
    models: Mapping[str, Model]
    table: Buffer
    """Table of addresses, for the use of one run at a time, under the lock."""
    lock: threading.RLock

    def compute_cross_kv(self, audio_features: MaxAudioFeatures) -> list[Buffer]:
        """Returns cross-attention's keys and values of each layer, computed once per window."""
        assert len(audio_features) == 1, "a session decodes one window"
        with self.lock:
            if audio_features.cross_kv is None:
                model = self.models["cross_kv"]
                audio_features.cross_kv = model.execute(audio_features.buffer)
            return audio_features.cross_kv

    def prefill(
        self,
        tokens: Sequence[int],
        rows: Sequence[int],
        caches: Sequence[Buffer],
        heads: Sequence[tuple[int, int]] = (),
    ) -> tuple[FloatArray, FloatArray]:
        """Runs `prefill` over a text from its beginning.

        Returns:
            Logits after the given rows of the tokens, [n_rows, n_vocab], and cross-attention's
            scores of the given heads before softmax, [n_heads, n_tokens, n_audio_ctx].
        """
        self.check_tokens(np.array(tokens), len(tokens))
        scores = Buffer(DType.float32, (len(heads), len(tokens), self.dims.n_audio_ctx), CPU())
        pairs = np.array(heads, np.int32).reshape(-1, 2)
        integers = (np.array(tokens, np.int32), np.array(rows, np.int32), pairs)
        with self.lock:
            (logits,) = self.models["prefill"].execute(scores, *integers, self.table, *caches)
        return logits.to_numpy(), scores.to_numpy()

    def align_text(
        self, request: AlignmentRequest, caches: Sequence[Buffer]
    ) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """Runs `align_text` -> positions [n_text + 1] and probabilities [n_text]."""
        tokens, text = (np.array(part, np.int32) for part in (request.tokens, request.text))
        self.check_tokens(tokens, len(tokens))
        heads = np.array(request.heads, np.int32).reshape(-1, 2)
        n_sot = len(request.sot_sequence)
        fields = np.array([n_sot, len(tokens), request.n_positions, request.eot], np.int32)
        shape = (len(heads), len(tokens), self.dims.n_audio_ctx)
        scores = Buffer(DType.float32, shape, CPU())
        with self.lock:
            positions, probabilities = self.models["align_text"].execute(
                scores, tokens, text, heads, fields, self.table, *caches
            )
        return positions.to_numpy(), probabilities.to_numpy()

    def check_tokens(self, tokens: npt.NDArray[np.integer[Any]], n_filled: int) -> None:
        """Stops tokens and positions that a kernel would look up outside of its arrays."""
        assert n_filled <= self.dims.n_text_ctx, "more tokens than the model has positions"
        assert 0 <= tokens.min() <= tokens.max() < self.dims.n_vocab, "not a token"


class MaxSession(DecoderSession):
    """One window's hypotheses; the cache is this session's own."""

    def __init__(
        self, models: DecoderModels, audio_features: MaxAudioFeatures, n_group: int
    ) -> None:
        self._models = models
        self._cross_kv = models.compute_cross_kv(audio_features)
        self._cache: KVCache | None = KVCache(models.dims, n_group)
        self._rules: tuple[npt.NDArray[Any], ...] | None = None
        self._addresses: npt.NDArray[np.int64] | None = None

    def prefill(self, tokens: Sequence[int], positions: Sequence[int]) -> FloatArray:
        """[n_prompt] -> [n_positions, n_vocab]; fed once, then shared by all hypotheses."""
        cache = self._open_cache()
        caches = (*cache.buffers, *self._cross_kv)
        logits, _ = self._models.prefill(tokens, positions, caches)
        cache.advance(len(tokens))
        return logits

    def step(self, tokens: IntArray) -> FloatArray:
        """[n_group] -> [n_group, n_vocab]."""
        cache, models = self._open_cache(), self._models
        models.check_tokens(tokens, cache.n_filled + 1)
        source_slots = cache.make_tail_panels_unique()
        integers = (tokens, [cache.n_filled], cache.slots, source_slots)
        with models.lock:
            (logits,) = models.models["decode_step"].execute(
                *(np.array(i, np.int32) for i in integers),
                *(models.table, *cache.buffers, *self._cross_kv),
            )
        cache.advance(1)
        array: FloatArray = logits.to_numpy()
        return array

    def top_k(
        self, sampled: Sequence[Sequence[int]], rules: TokenRules
    ) -> tuple[IntArray, FloatArray]:
        """Feeds the latest tokens; masking and ranking are the graph's.

        Where fewer tokens are allowed than asked for, end of text fills up, at minus infinity.
        """
        cache, models = self._open_cache(), self._models
        models.check_tokens(np.array([tokens[-1] for tokens in sampled]), cache.n_filled + 1)
        source_slots = cache.make_tail_panels_unique()
        states = hypothesis_states(sampled, cache.n_filled, rules.timestamp_begin)
        with models.lock:
            (choice,) = models.models["top_k"].execute(
                *(states, *self._rules_as_arrays(rules), cache.slots, source_slots),
                *(models.table, *cache.buffers, *self._cross_kv),
            )
        cache.advance(1)
        tokens, logprobs = choice.to_numpy().swapaxes(0, 1)
        missing = tokens < 0
        tokens[missing], logprobs[missing] = rules.eot, -np.inf
        return tokens.astype(np.int64), logprobs

    def sample(
        self,
        sampled: Sequence[Sequence[int]],
        rules: TokenRules,
        temperature: float,
        draws: npt.NDArray[np.float64],
    ) -> tuple[IntArray, FloatArray]:
        """Feeds the latest tokens; masking and drawing are the graph's.

        Where no token is allowed, or logits are no numbers, end of text comes at minus infinity.
        """
        cache, models = self._open_cache(), self._models
        latest = np.array([tokens[-1] for tokens in sampled], np.int32)
        models.check_tokens(latest, cache.n_filled + 1)
        step = (latest, [cache.n_filled], cache.slots, cache.make_tail_panels_unique())
        states = hypothesis_states(sampled, cache.n_filled, rules.timestamp_begin)
        with models.lock:
            (choice,) = models.models["sample"].execute(
                *(np.array(i, np.int32) for i in step),
                *(states, *self._rules_as_arrays(rules)),
                *(draws, np.array([temperature], np.float32)),
                *(models.table, *cache.buffers, *self._cross_kv),
            )
        cache.advance(1)
        tokens, logprobs = choice.to_numpy().T
        missing = tokens < 0
        tokens[missing], logprobs[missing] = rules.eot, -np.inf
        return tokens.astype(np.int64), logprobs

    def run_greedy(self, buffers: Sequence[Buffer]) -> npt.NDArray[np.int32]:
        """Runs some steps of the graph `greedy` over its buffers: state, sum, rules, mask."""
        cache, models = self._open_cache(), self._models
        with models.lock:
            (sampled,) = models.models["greedy"].execute(
                *buffers, models.table, *cache.buffers, *self._cross_kv
            )
        array: npt.NDArray[np.int32] = sampled.to_numpy()
        return array

    def addresses(self) -> npt.NDArray[np.int64]:
        """Returns where each layer's cached keys and values, and the audio's, begin, in turn."""
        if self._addresses is None:
            caches, audio = self._open_cache().buffers, self._cross_kv
            layers = range(0, len(caches), 2)
            buffers = [b for i in layers for b in (*caches[i : i + 2], *audio[i : i + 2])]
            self._addresses = np.array([_address(buffer) for buffer in buffers], np.int64)
        return self._addresses

    def buffers(self) -> list[Buffer]:
        """Returns the caches, then the audio's keys and values."""
        return [*self._open_cache().buffers, *self._cross_kv]

    def next_position(self) -> tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Returns the next position, the slots and the source slots of its panels; then fed."""
        cache = self._open_cache()
        source_slots = cache.make_tail_panels_unique()
        return cache.n_filled, cache.slots, source_slots

    def advance(self) -> None:
        """Counts a position that a run has filled."""
        self._open_cache().advance(1)

    def reorder(self, source_indices: Sequence[int]) -> None:
        """Takes effect at the next step."""
        self._open_cache().reorder(source_indices)

    def close(self) -> None:
        """Frees the cache."""
        self._cache = None

    def _rules_as_arrays(self, rules: TokenRules) -> tuple[npt.NDArray[Any], ...]:
        """Returns numbers and mask of the rules, which stay the same over a window."""
        if self._rules is None:
            self._rules = rule_numbers(rules), rule_mask(rules, self._models.dims.n_vocab)
        return self._rules

    def _open_cache(self) -> KVCache:
        assert self._cache is not None, "the session is closed"
        return self._cache


def _address(buffer: Buffer) -> int:
    """Returns where a buffer's numbers begin; `to_numpy` is a copy elsewhere before numpy 2.1."""
    integers = buffer.view(DType.uint8, (buffer.num_elements * buffer.element_size,))
    address: int = np.from_dlpack(integers).ctypes.data
    return address


def align(
    models: DecoderModels,
    audio_features: MaxAudioFeatures,
    tokens: Sequence[int],
    heads: Heads,
) -> Alignment:
    """Computes cross-attention scores of the chosen heads, and logits, of a token sequence."""
    caches = (*KVCache(models.dims, 1).buffers, *models.compute_cross_kv(audio_features))
    logits, scores = models.prefill(tokens, range(len(tokens)), caches, heads)
    return Alignment(cross_attention=scores, logits=logits)


def align_text(
    models: DecoderModels, audio_features: MaxAudioFeatures, request: AlignmentRequest
) -> TokenAlignment:
    """Aligns one window's text; only positions and probabilities leave the graph."""
    caches = (*KVCache(models.dims, 1).buffers, *models.compute_cross_kv(audio_features))
    positions, probabilities = models.align_text(request, caches)
    return TokenAlignment(positions.astype(np.int64), probabilities)
