"""Cues: pieces of a transcript that are shown at a time, whatever the format.

They come from a layout and go to a writer; nothing here decides where text is broken.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from maxwhisper_cli.transcription.segments import Word

_SPACES_AND_TEXT = re.compile(r"^(\s*)(.*)$")


@dataclass(frozen=True, slots=True)
class Cue:
    """A text that is shown from one time to another."""

    start: float
    """Seconds from the beginning of the audio."""
    end: float
    text: str
    """Text as it is shown; line feeds separate its lines."""
    words: tuple[Word, ...] = ()
    """Words with times, whose texts joined are the cue's; empty if there are no times."""
    speaker: str | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines of the text."""
        return tuple(self.text.split("\n"))

    def mapped(self, change: Callable[[str], str]) -> Self:
        """Returns the cue with its text and its words changed, each by itself."""
        words = tuple(replace(word, word=change(word.word)) for word in self.words)
        return replace(self, text=change(self.text), words=words)


def cue_of_words(words: Iterable[Word], speaker: str | None = None) -> Cue:
    """Returns the cue of words that have the spaces and line feeds before them."""
    shown = tuple(words)
    text = "".join(word.word for word in shown)
    return Cue(shown[0].start, shown[-1].end, text, shown, speaker)


def highlight_words(cue: Cue) -> Iterator[Cue]:
    """Yields a cue for each word, in which it is underlined, and one for each pause between them.

    A cue whose words have no times is yielded as it is.

    Source: `highlight_words` of whisper/utils.py.
    """
    if not cue.words:
        yield cue
    last = cue.start
    for index, word in enumerate(cue.words):
        if _milliseconds(last) != _milliseconds(word.start):
            yield replace(cue, start=last, end=word.start, words=())
        texts = [each.word for each in cue.words]
        texts[index] = _SPACES_AND_TEXT.sub(r"\1<u>\2</u>", word.word)
        yield replace(cue, start=word.start, end=word.end, text="".join(texts), words=())
        last = word.end


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
