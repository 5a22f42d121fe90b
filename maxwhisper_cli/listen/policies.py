"""Policies: how many words of a hypothesis will not change with more audio.

A policy sees each hypothesis for the audio so far and forgets nothing but final words. It neither
decodes nor knows the model.

Sources: Liu et al., arXiv:2005.11185 (local agreement); Papi et al., arXiv:2305.11408 (AlignAtt).
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from maxwhisper_cli.transcription.words import TimedWord

_MARKS: Final = string.punctuation + "。，、！？：；「」¿¡…—"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """Text for the audio so far, behind the words that are final."""

    words: Sequence[TimedWord]
    """Words with their times, in seconds within the window."""
    audio_seconds: float
    """End of the audio, in seconds within the window."""


class Policy(Protocol):
    """Rule by which words become final."""

    def count_final(self, hypothesis: Hypothesis) -> int:
        """Returns the number of first words that are final from now on."""

    def reset(self) -> None:
        """Begins anew, at an utterance."""


@dataclass(slots=True)
class AlignAtt:
    """Words are final once the decoder attends to audio that lies well before its end.

    The end of a word is where cross-attention leaves it for the next one. Since decoding is greedy,
    the words before that are those of a decoder that stops there.
    """

    guard_seconds: float
    """Words that end so near to the end of the audio are not final."""

    def count_final(self, hypothesis: Hypothesis) -> int:
        """Returns the number of words before the first one that ends too near to the end.

        The last word is never one of them: its ending or its mark may be still to come.
        """
        limit = hypothesis.audio_seconds - self.guard_seconds
        words = hypothesis.words[:-1]
        ends = enumerate(word.end for word in words)
        return next((index for index, end in ends if end > limit), len(words))

    def reset(self) -> None:
        """Has nothing to forget."""


@dataclass(slots=True)
class LocalAgreement:
    """Words are final once two hypotheses in a row agree on them, from the first one on."""

    _previous: list[str] = field(default_factory=list)

    def count_final(self, hypothesis: Hypothesis) -> int:
        """Returns the length of the common beginning of this hypothesis and the one before it."""
        words = [word.word.strip().strip(_MARKS).casefold() for word in hypothesis.words]
        n_common = 0
        for word, previous in zip(words, self._previous, strict=False):
            if word != previous:
                break
            n_common += 1
        self._previous = words[n_common:]
        return n_common

    def reset(self) -> None:
        """Forgets the hypothesis before."""
        self._previous = []
