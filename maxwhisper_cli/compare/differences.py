"""Differing words of two texts, aligned by jiwer, for display side by side.

Words are compared without capitals and punctuation, and returned as written.
"""

from dataclasses import dataclass

import jiwer

from maxwhisper_cli.compare.normalizers import WITHOUT_SPACES


@dataclass(frozen=True, slots=True)
class Span:
    """Aligned words of the left and the right text."""

    left: str
    right: str
    is_same: bool


def compare_texts(left: str, right: str, language: str) -> tuple[Span, ...]:
    """Splits two texts into spans that agree and spans that differ.

    The left sides joined with `separator(language)` are the left text, the right sides the right.
    """
    ours, theirs = _words(left, language), _words(right, language)
    if not ours or not theirs:
        return (Span(left, right, is_same=not ours and not theirs),)
    glue = separator(language)
    aligned = jiwer.process_words(" ".join(map(_key, ours)), " ".join(map(_key, theirs)))
    return tuple(
        Span(
            glue.join(ours[chunk.ref_start_idx : chunk.ref_end_idx]),
            glue.join(theirs[chunk.hyp_start_idx : chunk.hyp_end_idx]),
            is_same=chunk.type == "equal",
        )
        for chunk in aligned.alignments[0]
    )


def separator(language: str) -> str:
    """Returns the separator of words."""
    return "" if language in WITHOUT_SPACES else " "


def _words(text: str, language: str) -> list[str]:
    words = text.split()
    return [char for word in words for char in word] if language in WITHOUT_SPACES else words


def _key(word: str) -> str:
    """Returns a word in lower case without punctuation; pure punctuation is unchanged."""
    return "".join(char for char in word.casefold() if char.isalnum()) or word
