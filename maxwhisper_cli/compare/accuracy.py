"""Error rates between texts, and where two token sequences part; jiwer counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Self

import jiwer

from maxwhisper_cli.compare.normalizers import WITHOUT_SPACES, normalizer_for


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Substitutions, insertions and deletions, by the length of the reference."""

    rate: float
    n_errors: int
    n_reference: int
    """Words or characters of the reference, normalized."""

    @classmethod
    def of(cls, n_errors: int, n_reference: int) -> Self | None:
        """None where the reference has nothing to get wrong."""
        return cls(n_errors / n_reference, n_errors, n_reference) if n_reference else None

    @classmethod
    def over(cls, rates: Iterable[Self | None]) -> Self | None:
        """The rate over several recordings: all errors by all words."""
        known = [rate for rate in rates if rate is not None]
        return cls.of(sum(rate.n_errors for rate in known), sum(rate.n_reference for rate in known))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How a text differs from a reference."""

    wer: ErrorRate | None
    cer: ErrorRate | None


def accuracy(reference: str, text: str, language: str) -> Accuracy:
    """Word and character error rates after Whisper's normalizer for the language."""
    normalize = normalizer_for(language)
    expected, said = normalize(reference), normalize(text)
    if not expected:
        return Accuracy(None, None)
    words = _rate(jiwer.process_words(expected, said))
    if language in WITHOUT_SPACES:  # each character stands as a word
        return Accuracy(words, words)
    return Accuracy(words, _rate(jiwer.process_characters(expected, said)))


def first_difference(left: Sequence[int], right: Sequence[int]) -> int | None:
    """The index of the first token in which two sequences differ; None where they are equal."""
    pairs = zip_longest(left, right)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), None)


def _rate(counted: jiwer.WordOutput | jiwer.CharacterOutput) -> ErrorRate | None:
    n_errors = counted.substitutions + counted.deletions + counted.insertions
    return ErrorRate.of(n_errors, counted.hits + counted.substitutions + counted.deletions)
