"""Lyrics (`lrc`): a line for each cue, and in it a time for each word where words have times."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

from maxwhisper_cli.captions.cues import Cue
from maxwhisper_cli.writers.base import Document, Writer

_LIKE_TIME = re.compile(r"([\[<])(?=\d+:\d)")
"""Text that a player would take for a time."""

_SILENCE_SECONDS = 0.5
"""Time after a cue's end from which nothing is shown; before, its text stays to the next."""


class LrcWriter(Writer):
    """LRC, with `<mm:ss.xx>` before each word as in the enhanced format."""

    name: ClassVar[str] = "lrc"

    def render(self, document: Document) -> str:
        """Returns a line for each cue, and an empty one where nothing follows for a while.

        Minutes go beyond 99, since the format has no hours.
        """
        return "".join(f"{line}\n" for line in _lines(document.laid_out().cues))


def _lines(cues: tuple[Cue, ...]) -> Iterator[str]:
    for cue, following in pairwise((*cues, None)):
        assert cue is not None
        yield f"[{_time(cue.start)}]{_text(cue)}"
        if following is None or following.start - cue.end >= _SILENCE_SECONDS:
            yield f"[{_time(cue.end)}]"


def _text(cue: Cue) -> str:
    if not cue.words:
        return _plain(cue.text)
    words = (_plain(word.word) for word in cue.words)
    timed = (
        f"{' ' if text[:1] == ' ' else ''}<{_time(word.start)}>{text.lstrip()}"
        for word, text in zip(cue.words, words, strict=True)
    )
    return f"{''.join(timed)} <{_time(cue.end)}>"


def _plain(text: str) -> str:
    """Returns a text on one line, without anything that looks like a time."""
    return _LIKE_TIME.sub(r"\1 ", re.sub(r"\s", " ", text))


def _hundredths(seconds: float) -> int:
    return round(seconds * 100)


def _time(seconds: float) -> str:
    n_minutes, n_hundredths = divmod(_hundredths(seconds), 6000)
    n_seconds, n_hundredths = divmod(n_hundredths, 100)
    return f"{n_minutes:02d}:{n_seconds:02d}.{n_hundredths:02d}"
