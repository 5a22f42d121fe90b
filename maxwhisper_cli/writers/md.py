"""Markdown (`md`): paragraphs to read, each with the time at which it begins."""

import re
from collections.abc import Iterator
from typing import ClassVar

from maxwhisper_cli.transcription.segments import Segment
from maxwhisper_cli.writers.base import Document, Writer

_PAUSE_SECONDS = 2.0
"""Silence that ends a paragraph."""
_LONG_CHARACTERS = 500
"""Length from which a paragraph ends with its sentence."""
_LONGEST_CHARACTERS = 1000
"""Length from which a paragraph ends with its segment."""
_SENTENCE_ENDS = tuple(".!?…。！？؟۔।")  # noqa: RUF001
_MARKS = re.compile(r"([\\`*_\[\]<>&~|$])")


class MdWriter(Writer):
    """Markdown, in which no character of the text is taken for a mark."""

    name: ClassVar[str] = "md"

    def render(self, document: Document) -> str:
        """Returns paragraphs that end at pauses, with a speaker, or with a sentence if long."""
        return "\n".join(map(_paragraph, _paragraphs(document.transcript.segments)))


def _paragraphs(segments: tuple[Segment, ...]) -> Iterator[list[Segment]]:
    paragraph: list[Segment] = []
    for segment in segments:
        if not segment.text.strip():
            continue
        if paragraph and _ends(paragraph, segment):
            yield paragraph
            paragraph = []
        paragraph.append(segment)
    if paragraph:
        yield paragraph


def _ends(paragraph: list[Segment], following: Segment) -> bool:
    last = paragraph[-1]
    if following.speaker != last.speaker or following.start - last.end >= _PAUSE_SECONDS:
        return True
    n_characters = sum(len(segment.text) for segment in paragraph)
    ends_sentence = last.text.rstrip("\"'’”»)] \n").endswith(_SENTENCE_ENDS)  # noqa: RUF001
    return n_characters > (_LONG_CHARACTERS if ends_sentence else _LONGEST_CHARACTERS)


def _paragraph(segments: list[Segment]) -> str:
    first = segments[0]
    speaker = "" if first.speaker is None else f" *{_escaped(first.speaker)}:*"
    text = _escaped("".join(segment.text for segment in segments))
    return f"**{_time(first.start)}**{speaker} {text}\n"


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def _time(seconds: float) -> str:
    """`65.5` -> `1:05`; hours from one hour on."""
    n_minutes, n_seconds = divmod(int(seconds), 60)
    n_hours, n_minutes = divmod(n_minutes, 60)
    hours = f"{n_hours}:{n_minutes:02d}" if n_hours else f"{n_minutes}"
    return f"{hours}:{n_seconds:02d}"
