"""Greedy decoding at temperature 0, and independent sampling above it.

Source: `GreedyDecoder` of whisper/decoding.py. Samples come from a seeded generator, one uniform
number per hypothesis and step, so that every implementation draws the same tokens.
"""

import numpy as np
import numpy.typing as npt

from implementations.decoding.search import Candidate, HypothesisSearch
from implementations.request import Search

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class SamplingSearch(HypothesisSearch):
    """Hypotheses that each take their most likely, or a sampled, next token until end of text."""

    def __init__(self, search: Search, eot: int) -> None:
        self._temperature = search.temperature
        self._eot = eot
        self._random = np.random.default_rng(search.seed)
        self._sum_logprobs = np.zeros(search.n_group, dtype=np.float32)
        self._is_finished = np.zeros(search.n_group, dtype=np.bool_)
        self.sampled = [[] for _ in range(search.n_group)]

    @property
    def is_complete(self) -> bool:
        """True once every hypothesis has ended."""
        return bool(self._is_finished.all())

    def advance(self, logits: FloatArray, logsumexp: FloatArray) -> list[int] | None:
        """Appends a token to each hypothesis: logits [n_group, n_vocab], logsumexp [n_group]."""
        chosen = self._choose(logits)
        chosen[self._is_finished] = self._eot
        gained = logits[np.arange(len(chosen)), chosen] - logsumexp
        self._sum_logprobs[~self._is_finished] += gained[~self._is_finished]
        self._is_finished |= chosen == self._eot
        for tokens, token in zip(self.sampled, chosen.tolist(), strict=True):
            tokens.append(token)
        return None

    def candidates(self) -> list[Candidate]:
        """Returns all hypotheses, cut at their end of text."""
        return [
            Candidate.of(tokens, float(logprob), self._eot)
            for tokens, logprob in zip(self.sampled, self._sum_logprobs, strict=True)
        ]

    def _choose(self, logits: FloatArray) -> IntArray:
        if self._temperature == 0:
            return logits.argmax(axis=-1)
        draws = self._random.random(len(logits))
        rows = zip(logits, draws, self._is_finished, strict=True)
        return np.array([self._eot if done else self._draw(row, at) for row, at, done in rows])

    def _draw(self, row: FloatArray, at: float) -> int:
        """Returns the token at `at` (0 to 1) of the cumulative softmax with temperature."""
        allowed = np.flatnonzero(row > -np.inf)
        scaled = (row[allowed] / np.float32(self._temperature)).astype(np.float64)
        cumulative = np.exp(scaled - scaled.max()).cumsum()
        index = np.searchsorted(cumulative, at * cumulative[-1], side="right")
        return int(allowed[min(index, len(allowed) - 1)])
