"""Error rates between texts, counted by jiwer, and the first difference of token sequences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Self

import jiwer

from maxwhisper_cli.compare.normalizers import WITHOUT_SPACES, normalizer_for


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Substitutions, insertions and deletions over the length of the reference."""

    rate: float
    n_errors: int
    n_reference: int
    """Words or characters of the reference, normalized."""

    @classmethod
    def of(cls, n_errors: int, n_reference: int) -> Self | None:
        """Returns the rate, or None if the reference is empty."""
        return cls(n_errors / n_reference, n_errors, n_reference) if n_reference else None

    @classmethod
    def over(cls, rates: Iterable[Self | None]) -> Self | None:
        """Returns the rate over several recordings: all errors over all words."""
        known = [rate for rate in rates if rate is not None]
        return cls.of(sum(rate.n_errors for rate in known), sum(rate.n_reference for rate in known))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Word and character error rates of a text against a reference."""

    wer: ErrorRate | None
    cer: ErrorRate | None


def accuracy(reference: str, text: str, language: str) -> Accuracy:
    """Computes word and character error rates after Whisper's normalizer for the language."""
    normalize = normalizer_for(language)
    expected, actual = normalize(reference), normalize(text)
    if not expected:
        return Accuracy(None, None)
    words = _rate(jiwer.process_words(expected, actual))
    if language in WITHOUT_SPACES:  # each character is a word
        return Accuracy(words, words)
    return Accuracy(words, _rate(jiwer.process_characters(expected, actual)))


def first_difference(left: Sequence[int], right: Sequence[int]) -> int | None:
    """Returns the index of the first differing token; None if the sequences are equal."""
    pairs = zip_longest(left, right)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), None)


def _rate(counted: jiwer.WordOutput | jiwer.CharacterOutput) -> ErrorRate | None:
    n_errors = counted.substitutions + counted.deletions + counted.insertions
    return ErrorRate.of(n_errors, counted.hits + counted.substitutions + counted.deletions)
