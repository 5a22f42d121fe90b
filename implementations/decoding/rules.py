"""Masking of one step's logits by `TokenRules`, and the logsumexp of those that remain.

The rules are those of whisper/decoding.py (SuppressBlank, SuppressTokens, ApplyTimestampRules) in
one pass: exponentials are taken once and serve both the timestamp rule and the log-softmax. Rows
are taken one by one, since one fits the processor's cache and several do not.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from implementations.errors import NonFiniteLogitsError
from implementations.request import TokenRules

FloatArray = npt.NDArray[np.float32]


class RuleBook:
    """The rules of a window, with their index arrays made once."""

    def __init__(self, rules: TokenRules) -> None:
        self.rules = rules
        self._always = np.array(rules.suppressed, dtype=np.int64)
        self._first = np.array(rules.suppressed_first, dtype=np.int64)

    def apply(self, logits: FloatArray, sampled: Sequence[Sequence[int]]) -> FloatArray:
        """Masks the logits in place and returns their logsumexp.

        Args:
            logits: [n_rows, n_vocab], float32.
            sampled: Tokens sampled by each row so far, without the prompt.

        Returns:
            Logsumexp of each masked row, [n_rows]: logits minus it are log-probabilities.

        Raises:
            NonFiniteLogitsError: There is NaN or infinity among the logits.
        """
        logits[:, self._always] = -np.inf
        is_first = not sampled[0]
        if is_first:
            logits[:, self._first] = -np.inf
        if self.rules.with_timestamps:
            for row, tokens in zip(logits, sampled, strict=True):
                self._pair_timestamps(row, tokens)
            if is_first:
                self._begin_with_timestamp(logits)
        exponentials = np.empty(logits.shape[1], np.float32)
        return np.array([self._logsumexp(row, exponentials) for row in logits], np.float32)

    def _pair_timestamps(self, row: FloatArray, tokens: Sequence[int]) -> None:
        """Masks what would break timestamp pairs or let timestamps decrease; row is [n_vocab]."""
        begin = self.rules.timestamp_begin
        last_is_timestamp = len(tokens) >= 1 and tokens[-1] >= begin
        penultimate_is_timestamp = len(tokens) < 2 or tokens[-2] >= begin
        if last_is_timestamp:
            if penultimate_is_timestamp:
                row[begin:] = -np.inf
            else:
                row[: self.rules.eot] = -np.inf
        latest = next((token for token in reversed(tokens) if token >= begin), None)
        if latest is not None:
            # A closing timestamp may be repeated as the next opening one; a segment has a length.
            may_repeat = last_is_timestamp and not penultimate_is_timestamp
            row[begin : latest if may_repeat else latest + 1] = -np.inf

    def _begin_with_timestamp(self, logits: FloatArray) -> None:
        begin = self.rules.timestamp_begin
        logits[:, :begin] = -np.inf
        if self.rules.max_initial_timestamp is not None:
            logits[:, begin + self.rules.max_initial_timestamp + 1 :] = -np.inf

    def _logsumexp(self, row: FloatArray, exponentials: FloatArray) -> np.float32:
        """Returns the logsumexp of a row [n_vocab].

        Text is masked first if all timestamps together are more probable than any text token.
        """
        begin = self.rules.timestamp_begin
        peak = row.max()
        if not peak < np.inf:  # true of NaN as well
            raise NonFiniteLogitsError
        np.subtract(row, peak, out=exponentials)
        np.exp(exponentials, out=exponentials)
        total = exponentials.sum()
        if self.rules.with_timestamps:
            timestamp_sum = exponentials[begin:].sum()
            if timestamp_sum > exponentials[:begin].max():
                row[:begin] = -np.inf
                total = timestamp_sum
        logsumexp: np.float32 = peak + np.log(total)
        return logsumexp


def probability_of(logits: FloatArray, token: int) -> float:
    """Returns the softmax probability of one token: logits [n_vocab] -> [0, 1]."""
    exponentials = np.exp(logits - logits.max())
    return float(exponentials[token] / exponentials.sum())
