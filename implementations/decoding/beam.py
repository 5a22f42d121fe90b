"""Beam search with patience.

A beam keeps `n_group` unfinished hypotheses; finished ones are set aside until there are
round(n_group * patience) of them (arXiv:2204.05424).

Source: `BeamSearchDecoder` of whisper/decoding.py.
"""

import numpy as np
import numpy.typing as npt

from implementations.decoding.rules import RuleBook
from implementations.decoding.search import Candidate, HypothesisSearch
from implementations.request import Search
from implementations.session import DecoderSession

FloatArray = npt.NDArray[np.float32]

_SET_SIZE = 64
"""Tokens per set in the top-k search."""


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
        """True once enough hypotheses have ended."""
        return len(self._finished) >= self._max_finished

    @property
    def n_ranked(self) -> int:
        """One token more than there are beams, since one of them may be the end."""
        return self._n_beams + 1

    @property
    def live(self) -> list[int]:
        """All beams."""
        return list(range(self._n_beams))

    def draws(self) -> npt.NDArray[np.float64]:
        """Beams draw nothing."""
        return np.zeros(self._n_beams)

    def take(self, tokens: npt.NDArray[np.int64], logprobs: FloatArray) -> list[int]:
        """Extends every beam by its most likely tokens; see `extend`."""
        return self.extend(tokens, logprobs)

    def step(self, session: DecoderSession, book: RuleBook) -> list[int] | None:
        """Takes a step, with the top k tokens from the session if it computes them."""
        ranked = session.top_k(self.sampled, book.rules)
        return super().step(session, book) if ranked is None else self.extend(*ranked)

    def advance(self, logits: FloatArray, logsumexp: FloatArray) -> list[int]:
        """Extends every beam by its most likely tokens and keeps the best of all."""
        tokens = np.array([_top_k(row, self._n_beams + 1) for row in logits])
        return self.extend(tokens, np.take_along_axis(logits, tokens, 1) - logsumexp[:, None])

    def extend(self, top_tokens: npt.NDArray[np.int64], logprobs: FloatArray) -> list[int]:
        """Extends every beam by candidates that are chosen already.

        Args:
            top_tokens: Most likely next tokens of each beam, [n_group, n_beams + 1].
            logprobs: Their log-probabilities, [n_group, n_beams + 1].

        Returns:
            The beam that each new beam continues.
        """
        scores, sources = self._continuations(top_tokens, logprobs)
        survivors: list[tuple[int, ...]] = []
        ended: dict[tuple[int, ...], float] = {}
        for tokens in sorted(scores, key=scores.__getitem__, reverse=True):
            if tokens[-1] == self._eot:
                ended[tokens[:-1]] = scores[tokens]
                continue
            self._sum_logprobs[len(survivors)] = scores[tokens]
            survivors.append(tokens)
            if len(survivors) == self._n_beams:
                break
        for tokens, score in ended.items():
            if self.is_complete:
                break
            self._finished[tokens] = score
        self.sampled = [list(tokens) for tokens in survivors]
        return [sources[tokens] for tokens in survivors]

    def candidates(self) -> list[Candidate]:
        """Returns finished hypotheses, completed to one per beam by the best unfinished ones."""
        candidates = [Candidate(tokens, score) for tokens, score in self._finished.items()]
        for index in best_unfinished(len(candidates), self._sum_logprobs):
            sum_logprob = float(self._sum_logprobs[index])
            candidates.append(Candidate(tuple(self.sampled[index]), sum_logprob))
        return candidates

    def _continuations(
        self, top_tokens: npt.NDArray[np.int64], logprobs: FloatArray
    ) -> tuple[dict[tuple[int, ...], float], dict[tuple[int, ...], int]]:
        """Returns score and source beam of every continuation, in the order of the beams.

        On the first step all beams are equal, and so are their continuations: equal keys merge.
        """
        scores: dict[tuple[int, ...], float] = {}
        sources: dict[tuple[int, ...], int] = {}
        totals = self._sum_logprobs[:, None] + logprobs
        rows = zip(top_tokens.tolist(), totals.tolist(), strict=True)
        for index, (tokens, row_totals) in enumerate(rows):
            for token, total in zip(tokens, row_totals, strict=True):
                text = (*self.sampled[index], token)
                scores[text], sources[text] = total, index
        return scores, sources


def best_unfinished(n_finished: int, sum_logprobs: FloatArray) -> list[int]:
    """Returns the best unfinished hypotheses that complete the finished ones to one per beam.

    Args:
        n_finished: Number of finished hypotheses.
        sum_logprobs: Scores of the unfinished ones, [n_beams].

    Returns:
        Their indices, best first.
    """
    n_missing = max(0, len(sum_logprobs) - n_finished)
    order: list[int] = np.argsort(sum_logprobs)[::-1].tolist()
    return order[:n_missing]


def _top_k(row: FloatArray, k: int) -> list[int]:
    """Returns the tokens with the k highest logits, highest first; row is [n_vocab].

    Tokens that are n_sets apart form a set, so that one pass over the row gives the maximum of
    every set. The top k lie in the k sets with the highest maxima.
    """
    n_sets = max(k, len(row) // _SET_SIZE)
    n_whole = len(row) // n_sets * n_sets
    highest = row[:n_whole].reshape(-1, n_sets).max(axis=0)
    sets = np.argpartition(highest, -k)[-k:]
    members = np.arange(0, n_whole, n_sets)[:, None] + sets
    candidates = np.concatenate([members.ravel(), np.arange(n_whole, len(row))])
    logits = row[candidates]
    best = np.argpartition(logits, -k)[-k:]
    best = best[np.lexsort((candidates[best], -logits[best]))]
    tokens: list[int] = candidates[best].tolist()
    return tokens
