"""Base class of greedy, sampling and beam search, and the ranking of their hypotheses."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from implementations.decoding.rules import RuleBook
from implementations.session import DecoderSession, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished or abandoned hypothesis: its tokens without end of text."""

    tokens: tuple[int, ...]
    sum_logprob: float

    @classmethod
    def of(cls, sampled: Sequence[int], sum_logprob: float, eot: int) -> Self:
        """Returns the hypothesis of the sampled tokens, cut at their end of text."""
        tokens = tuple(sampled)
        return cls(tokens[: tokens.index(eot)] if eot in tokens else tokens, sum_logprob)


class HypothesisSearch(ABC):
    """A group of hypotheses that grow by one token a step."""

    sampled: list[list[int]]
    """Tokens of each hypothesis so far, prompt left out."""

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """True once another step cannot change the result."""

    def step(self, session: DecoderSession, book: RuleBook) -> list[int] | None:
        """Feeds each hypothesis its latest token and takes its next.

        Returns:
            The result of `advance`.
        """
        logits = self._feed(session)
        return self.advance(logits, book.apply(logits, self.sampled))

    @property
    @abstractmethod
    def n_ranked(self) -> int:
        """Most likely next tokens that a step needs of each hypothesis; 0 if one is drawn."""

    @property
    @abstractmethod
    def live(self) -> list[int]:
        """Hypotheses that must be fed in the next step."""

    @abstractmethod
    def draws(self) -> npt.NDArray[np.float64]:
        """Returns each hypothesis's place (0 to 1) in the cumulative probabilities, [n_group].

        It is called once a step where tokens are drawn.
        """

    @abstractmethod
    def take(self, tokens: IntArray, logprobs: FloatArray) -> list[int] | None:
        """Takes a step with tokens that were ranked or drawn elsewhere.

        Args:
            tokens: [n_group, n_ranked], or one drawn token each; those of hypotheses that are not
                live do not matter.
            logprobs: Their log-probabilities under the rules, of the same shape.

        Returns:
            The result of `advance`.
        """

    def _feed(self, session: DecoderSession) -> FloatArray:
        """Feeds each hypothesis its latest token; returns logits, [n_group, n_vocab]."""
        return session.step(np.array([tokens[-1] for tokens in self.sampled]))

    @abstractmethod
    def advance(self, logits: FloatArray, logsumexp: FloatArray) -> list[int] | None:
        """Takes a step.

        Args:
            logits: Masked logits, [n_group, n_vocab].
            logsumexp: Result of `RuleBook.apply`, [n_group].

        Returns:
            The hypothesis that each new one continues; None if each continues itself.
        """

    @abstractmethod
    def candidates(self) -> list[Candidate]:
        """Returns the hypotheses to choose from, once complete or at the limit of tokens."""


def best(candidates: Sequence[Candidate], length_penalty: float | None) -> Candidate:
    """Returns the candidate with the highest length-normalised log-probability.

    Source: `MaximumLikelihoodRanker` of whisper/decoding.py; the penalty is GNMT's
    (arXiv:1609.08144). An empty candidate counts as one token long.
    """

    def score(candidate: Candidate) -> float:
        length = len(candidate.tokens)
        if length_penalty is None:
            return candidate.sum_logprob / max(length, 1)
        return float(candidate.sum_logprob / ((5 + length) / 6) ** length_penalty)

    return max(candidates, key=score)
