"""Greedy decoding at temperature 0, and independent sampling above it.

Source: `GreedyDecoder` of whisper/decoding.py. Samples come from a seeded generator, one uniform
number per hypothesis and step, so that every implementation draws the same tokens.
"""

import numpy as np
import numpy.typing as npt

from implementations.decoding.rules import RuleBook
from implementations.decoding.search import Candidate, HypothesisSearch
from implementations.request import Search
from implementations.session import DecoderSession

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

    @property
    def n_ranked(self) -> int:
        """One token at temperature 0; drawn above it."""
        return 1 if self._temperature == 0 else 0

    @property
    def live(self) -> list[int]:
        """Hypotheses that have not ended."""
        return np.flatnonzero(~self._is_finished).tolist()

    def draws(self) -> npt.NDArray[np.float64]:
        """Returns the step's random numbers, [n_group]."""
        return self._random.random(len(self.sampled))

    def take(self, tokens: IntArray, logprobs: FloatArray) -> None:
        """Appends a token to each hypothesis: both [n_group, 1]."""
        self._append(tokens[:, 0], logprobs[:, 0])

    def step(self, session: DecoderSession, book: RuleBook) -> None:
        """Takes a step, with tokens that the session draws if it can."""
        if self._temperature == 0:
            super().step(session, book)
            return
        draws = self.draws()
        drawn = session.sample(self.sampled, book.rules, self._temperature, draws)
        if drawn is None:
            logits = self._feed(session)
            drawn = self._draw_all(logits, book.apply(logits, self.sampled), draws)
        self._append(*drawn)

    def advance(self, logits: FloatArray, logsumexp: FloatArray) -> None:
        """Appends a token to each hypothesis: logits [n_group, n_vocab], logsumexp [n_group]."""
        if self._temperature > 0:
            self._append(*self._draw_all(logits, logsumexp, self.draws()))
            return
        tokens = logits.argmax(axis=-1)
        self._append(tokens, logits[np.arange(len(tokens)), tokens] - logsumexp)

    def _draw_all(
        self, logits: FloatArray, logsumexp: FloatArray, draws: npt.NDArray[np.float64]
    ) -> tuple[IntArray, FloatArray]:
        """Draws a token for each hypothesis that has not ended, with its log-probability."""
        rows = zip(logits, draws, self._is_finished, strict=True)
        tokens = np.array([self._eot if done else self._draw(row, at) for row, at, done in rows])
        return tokens, logits[np.arange(len(tokens)), tokens] - logsumexp

    def _append(self, tokens: IntArray, logprobs: FloatArray) -> None:
        """Appends a token to each hypothesis; those that have ended get their end again."""
        self._sum_logprobs[~self._is_finished] += logprobs[~self._is_finished]
        tokens[self._is_finished] = self._eot
        self._is_finished |= tokens == self._eot
        for sampled, token in zip(self.sampled, tokens.tolist(), strict=True):
            sampled.append(token)

    def candidates(self) -> list[Candidate]:
        """Returns all hypotheses, cut at their end of text."""
        return [
            Candidate.of(tokens, float(logprob), self._eot)
            for tokens, logprob in zip(self.sampled, self._sum_logprobs, strict=True)
        ]

    def _draw(self, row: FloatArray, at: float) -> int:
        """Returns the token at `at` (0 to 1) of the cumulative softmax with temperature."""
        allowed = np.flatnonzero(row > -np.inf)
        scaled = (row[allowed] / np.float32(self._temperature)).astype(np.float64)
        cumulative = np.exp(scaled - scaled.max()).cumsum()
        index = np.searchsorted(cumulative, at * cumulative[-1], side="right")
        return int(allowed[min(index, len(allowed) - 1)])
