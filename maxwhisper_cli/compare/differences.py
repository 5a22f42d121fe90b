"""Which words of two texts differ, for showing side by side; jiwer aligns.

Words count as the same whatever their capitals and punctuation, but they are given as written.
"""

from dataclasses import dataclass

import jiwer

from maxwhisper_cli.compare.normalizers import WITHOUT_SPACES


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some words on the left and what stands for them on the right."""

    left: str
    right: str
    is_same: bool


def compare_texts(left: str, right: str, language: str) -> tuple[Stretch, ...]:
    """Cuts two texts into stretches that agree and stretches that differ.

    Joined with `separator(language)`, the lefts are the left text, and the rights the right one.
    """
    ours, theirs = _words(left, language), _words(right, language)
    if not ours or not theirs:
        return (Stretch(left, right, is_same=not ours and not theirs),)
    glue = separator(language)
    aligned = jiwer.process_words(" ".join(map(_key, ours)), " ".join(map(_key, theirs)))
    return tuple(
        Stretch(
            glue.join(ours[chunk.ref_start_idx : chunk.ref_end_idx]),
            glue.join(theirs[chunk.hyp_start_idx : chunk.hyp_end_idx]),
            is_same=chunk.type == "equal",
        )
        for chunk in aligned.alignments[0]
    )


def separator(language: str) -> str:
    """What stands between words."""
    return "" if language in WITHOUT_SPACES else " "


def _words(text: str, language: str) -> list[str]:
    words = text.split()
    return [char for word in words for char in word] if language in WITHOUT_SPACES else words


def _key(word: str) -> str:
    """Returns a word without capitals and punctuation; punctuation alone stands for itself."""
    return "".join(char for char in word.casefold() if char.isalnum()) or word
