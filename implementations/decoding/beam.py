"""Beam search with patience, as `BeamSearchDecoder` of whisper/decoding.py does it.

A beam keeps `n_group` unfinished hypotheses; finished ones are set aside until there are
round(n_group * patience) of them (arXiv:2204.05424).
"""

import numpy as np
import numpy.typing as npt

from implementations.decoding.rules import RuleBook
from implementations.decoding.search import Candidate, HypothesisSearch
from implementations.request import Search
from implementations.session import DecoderSession

FloatArray = npt.NDArray[np.float32]

_SET = 64
"""Tokens of a set in which the likeliest are looked for."""


class BeamSearch(HypothesisSearch):
    """The `n_group` most likely unfinished hypotheses, and those that ended."""

    def __init__(self, search: Search, eot: int) -> None:
        self._n_beams = search.n_group
        self._max_finished = search.max_finished
        self._eot = eot
        self._sum_logprobs = np.zeros(search.n_group, dtype=np.float32)
        self._finished: dict[tuple[int, ...], float] = {}
        self.sampled = [[] for _ in range(search.n_group)]

    @property
    def is_complete(self) -> bool:
        """Whether enough hypotheses have ended."""
        return len(self._finished) >= self._max_finished

    def step(self, session: DecoderSession, book: RuleBook) -> list[int] | None:
        """As for every search, but with tokens that the session ranks, where it can."""
        ranked = session.top_k(self.sampled, book.rules)
        return super().step(session, book) if ranked is None else self.extend(*ranked)

    def advance(self, logits: FloatArray, log_totals: FloatArray) -> list[int]:
        """Extend every beam by its most likely tokens and keep the best of all."""
        tokens = np.array([_likeliest(row, self._n_beams + 1) for row in logits])
        return self.extend(tokens, np.take_along_axis(logits, tokens, 1) - log_totals[:, None])

    def extend(self, likeliest: npt.NDArray[np.int64], logprobs: FloatArray) -> list[int]:
        """As `advance`, of each beam's n_beams + 1 likeliest tokens, [n_group, n_beams + 1]."""
        scores, sources = self._continuations(likeliest, logprobs)
        kept: list[tuple[int, ...]] = []
        ended: dict[tuple[int, ...], float] = {}
        for tokens in sorted(scores, key=scores.__getitem__, reverse=True):
            if tokens[-1] == self._eot:
                ended[tokens[:-1]] = scores[tokens]
                continue
            self._sum_logprobs[len(kept)] = scores[tokens]
            kept.append(tokens)
            if len(kept) == self._n_beams:
                break
        for tokens, score in ended.items():
            if self.is_complete:
                break
            self._finished[tokens] = score
        self.sampled = [list(tokens) for tokens in kept]
        return [sources[tokens] for tokens in kept]

    def candidates(self) -> list[Candidate]:
        """Finished hypotheses, filled up with the best unfinished ones to one per beam."""
        found = [Candidate(tokens, score) for tokens, score in self._finished.items()]
        for index in stand_ins(len(found), self._sum_logprobs):
            sum_logprob = float(self._sum_logprobs[index])
            found.append(Candidate(tuple(self.sampled[index]), sum_logprob))
        return found

    def _continuations(
        self, likeliest: npt.NDArray[np.int64], logprobs: FloatArray
    ) -> tuple[dict[tuple[int, ...], float], dict[tuple[int, ...], int]]:
        """Score each beam's continuations, in the order of the beams.

        On the first step all beams are the same, and so are their continuations: equal keys merge.
        """
        scores: dict[tuple[int, ...], float] = {}
        sources: dict[tuple[int, ...], int] = {}
        totals = self._sum_logprobs[:, None] + logprobs
        rows = zip(likeliest.tolist(), totals.tolist(), strict=True)
        for index, (tokens, row_totals) in enumerate(rows):
            for token, total in zip(tokens, row_totals, strict=True):
                text = (*self.sampled[index], token)
                scores[text], sources[text] = total, index
        return scores, sources


def stand_ins(n_finished: int, sum_logprobs: FloatArray) -> list[int]:
    """Which unfinished hypotheses, the best first, fill up the finished ones to one per beam."""
    n_missing = max(0, len(sum_logprobs) - n_finished)
    order: list[int] = np.argsort(sum_logprobs)[::-1].tolist()
    return order[:n_missing]


def _likeliest(row: FloatArray, n_best: int) -> list[int]:
    """The tokens with the n_best highest logits, highest first.

    Each is the highest of its set, or one of the others of these few sets: tokens that are
    n_sets apart make a set, so that all sets' highest are found in one pass over the row.
    """
    n_sets = max(n_best, len(row) // _SET)
    n_whole = len(row) // n_sets * n_sets
    highest = row[:n_whole].reshape(-1, n_sets).max(axis=0)
    sets = np.argpartition(highest, -n_best)[-n_best:]
    members = np.arange(0, n_whole, n_sets)[:, None] + sets
    among = np.concatenate([members.ravel(), np.arange(n_whole, len(row))])
    logits = row[among]
    kept = np.argpartition(logits, -n_best)[-n_best:]
    kept = kept[np.lexsort((among[kept], -logits[kept]))]
    likeliest: list[int] = among[kept].tolist()
    return likeliest
