"""Apply `TokenRules` to the logits of one step, and tell what normalises those that are left.

The rules are those of whisper/decoding.py (SuppressBlank, SuppressTokens, ApplyTimestampRules) in
one pass: exponentials are taken once and serve both the timestamp rule and the log-softmax. Rows
are taken one by one, since one fits the processor's cache and several do not.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from implementations.errors import NotNumbersError
from implementations.request import TokenRules

FloatArray = npt.NDArray[np.float32]


class RuleBook:
    """The rules of a window, with their index arrays made once."""

    def __init__(self, rules: TokenRules) -> None:
        self.rules = rules
        self._always = np.array(rules.suppressed, dtype=np.int64)
        self._first = np.array(rules.suppressed_first, dtype=np.int64)

    def apply(self, logits: FloatArray, sampled: Sequence[Sequence[int]]) -> FloatArray:
        """Mask logits [n_rows, n_vocab] in place; return what they exceed their log-softmax by.

        That is the logarithm of the sum of each row's exponentials, [n_rows]. `sampled` holds what
        each row has sampled so far, prompt left out.

        Raises:
            NotNumbersError: there is NaN or infinity among the logits.
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
        return np.array([self._log_total(row, exponentials) for row in logits], np.float32)

    def _pair_timestamps(self, row: FloatArray, tokens: Sequence[int]) -> None:
        """Timestamps come in pairs, except before the end, and never go back."""
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

    def _log_total(self, row: FloatArray, exponentials: FloatArray) -> np.float32:
        """Of a row; text is dropped first where timestamps together outweigh any text token."""
        begin = self.rules.timestamp_begin
        peak = row.max()
        if not peak < np.inf:  # so with NaN
            raise NotNumbersError
        np.subtract(row, peak, out=exponentials)
        np.exp(exponentials, out=exponentials)
        total = exponentials.sum()
        if self.rules.with_timestamps:
            timestamp_mass = exponentials[begin:].sum()
            if timestamp_mass > exponentials[:begin].max():
                row[:begin] = -np.inf
                total = timestamp_mass
        log_total: np.float32 = peak + np.log(total)
        return log_total


def probability_of(logits: FloatArray, token: int) -> float:
    """Softmax probability of one token: logits [n_vocab] -> [0, 1]."""
    exponentials = np.exp(logits - logits.max())
    return float(exponentials[token] / exponentials.sum())
