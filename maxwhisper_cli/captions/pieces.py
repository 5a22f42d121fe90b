"""Pieces of text that no line break divides, with their times, from a transcript's words."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from maxwhisper_cli.captions.grammar import may_break, width_of
from maxwhisper_cli.transcription.segments import Segment, Word

_ARROW = re.compile("-{2,}>")


@dataclass(frozen=True, slots=True)
class Piece:
    """One or more of Whisper's words that stay together on a line."""

    words: tuple[Word, ...]
    """Words without the space before the first, and with single spaces between the others."""
    has_space_before: bool

    @property
    def text(self) -> str:
        """Text without the space before it."""
        return "".join(word.word for word in self.words)

    @property
    def width(self) -> int:
        """Characters of the text."""
        return width_of(self.text)

    @property
    def start(self) -> float:
        """Start of the first word, in seconds."""
        return self.words[0].start

    @property
    def end(self) -> float:
        """End of the last word, in seconds."""
        return max(word.end for word in self.words)

    def after_space(self) -> tuple[Word, ...]:
        """Returns the words as they continue a line."""
        return self._after(" " if self.has_space_before else "")

    def after_line_feed(self) -> tuple[Word, ...]:
        """Returns the words as they begin a line after the first."""
        return self._after("\n")

    def _after(self, before: str) -> tuple[Word, ...]:
        first, *others = self.words
        return replace(first, word=before + first.word), *others


def pieces_of(segments: Iterable[Segment], *, has_spaces: bool) -> list[Piece]:
    """Returns the pieces of segments in their order; words without text are left out."""
    words = (word for segment in segments for word in _words_of(segment))
    pieces: list[Piece] = []
    group: list[Word] = []
    for word in words:
        if group and may_break(group[-1].word, word.word, has_spaces=has_spaces):
            pieces.append(_piece(group, is_first=not pieces))
            group = []
        group.append(word)
    if group:
        pieces.append(_piece(group, is_first=not pieces))
    return pieces


def _piece(words: Sequence[Word], *, is_first: bool) -> Piece:
    """Returns a piece, in which no arrow looks like the separator of times."""
    has_space_before = not is_first and words[0].word[:1].isspace()
    texts = [_with_single_spaces(word.word) for word in words]
    texts[0] = texts[0].lstrip()
    texts[-1] = texts[-1].rstrip()
    whole = "".join(texts)
    if _ARROW.search(whole):
        joined = replace(words[0], word=_ARROW.sub("->", whole), end=words[-1].end)
        return Piece((joined,), has_space_before)
    shown = (replace(word, word=text) for word, text in zip(words, texts, strict=True))
    return Piece(tuple(shown), has_space_before)


def _with_single_spaces(text: str) -> str:
    """Returns a text with one space in the place of any white space, at its ends too."""
    inner = " ".join(text.split())
    left = " " if text[:1].isspace() else ""
    right = " " if inner and text[-1:].isspace() else ""
    return f"{left}{inner}{right}"


def _words_of(segment: Segment) -> Iterator[Word]:
    """Yields a segment's words; those of a text without times share the segment's time."""
    words = [word for word in segment.words or () if word.word.strip()]
    if words or not segment.text.strip():
        yield from words
        return
    texts = segment.text.split()
    seconds = (segment.end - segment.start) / len(texts)
    times = [segment.start + index * seconds for index in range(len(texts) + 1)]
    for text, (start, end) in zip(texts, pairwise(times), strict=True):
        yield Word(f" {text}", start, end, 0.0)
