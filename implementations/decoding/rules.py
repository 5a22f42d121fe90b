"""Apply `TokenRules` to the logits of one step, and normalise what is left.

The rules are those of whisper/decoding.py (SuppressBlank, SuppressTokens, ApplyTimestampRules) in
one pass: exponentials are taken once and serve both the timestamp rule and the log-softmax.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from implementations.decoding.request import TokenRules

FloatArray = npt.NDArray[np.float32]


class RuleBook:
    """The rules of a window, with their index arrays made once."""

    def __init__(self, rules: TokenRules) -> None:
        self.rules = rules
        self._always = np.array(rules.suppressed, dtype=np.int64)
        self._first = np.array(rules.suppressed_first, dtype=np.int64)

    def apply(self, logits: FloatArray, sampled: Sequence[Sequence[int]]) -> FloatArray:
        """Mask logits in place and return their log-softmax, both [n_rows, n_vocab].

        `sampled` holds what each row has sampled so far, prompt left out.
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
        return self._normalise(logits)

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

    def _normalise(self, logits: FloatArray) -> FloatArray:
        """Log-softmax; text is dropped first where timestamps together outweigh any text token."""
        begin = self.rules.timestamp_begin
        peak = logits.max(axis=-1, keepdims=True)
        exponentials = np.exp(logits - peak)
        totals = exponentials.sum(axis=-1, keepdims=True)
        if self.rules.with_timestamps:
            timestamp_mass = exponentials[:, begin:].sum(axis=-1)
            text_mass = exponentials[:, :begin].max(axis=-1)
            for index in np.flatnonzero(timestamp_mass > text_mass):
                logits[index, :begin] = -np.inf
                totals[index] = timestamp_mass[index]
        result: FloatArray = logits - (peak + np.log(totals))
        return result


def probability_of(logits: FloatArray, token: int) -> float:
    """Softmax probability of one token: logits [n_vocab] -> [0, 1]."""
    exponentials = np.exp(logits - logits.max())
    return float(exponentials[token] / exponentials.sum())
