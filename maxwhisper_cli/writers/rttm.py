"""RTTM, the format of speaker diarization: who speaks when, without the text.

Source: NIST's evaluation plan RT-09, appendix A: ten fields, of which those unknown are `<NA>`.
"""

from collections.abc import Iterator
from typing import ClassVar, Final

from maxwhisper_cli.transcription.segments import Segment, Word
from maxwhisper_cli.writers.base import Document, Writer

_PAUSE_SECONDS: Final = 0.5
"""Silence between two words that ends a span of speech."""


class RttmWriter(Writer):
    """A line for each span of speech: between pauses where words have times, else a segment."""

    name: ClassVar[str] = "rttm"
    needs_speakers: ClassVar[bool] = True

    def render(self, document: Document) -> str:
        """Returns `SPEAKER recording 1 start duration <NA> <NA> name <NA> <NA>` lines."""
        recording = _field(document.recording)
        return "".join(
            f"SPEAKER {recording} 1 {start:.3f} {end - start:.3f} <NA> <NA> "
            f"{_field(segment.speaker or '')} <NA> <NA>\n"
            for segment in document.transcript.segments
            for start, end in _speech_spans(segment)
            if round(end - start, 3) > 0
        )


def _speech_spans(segment: Segment) -> Iterator[tuple[float, float]]:
    if not segment.text.strip():
        return
    if not segment.words:
        yield segment.start, segment.end
        return
    first = previous = segment.words[0]
    for word in segment.words[1:]:
        if _is_pause(previous, word):
            yield first.start, previous.end
            first = word
        previous = word
    yield first.start, previous.end


def _is_pause(previous: Word, word: Word) -> bool:
    return word.start - previous.end >= _PAUSE_SECONDS


def _field(text: str) -> str:
    """Returns a text as one field: fields are separated by spaces."""
    return "_".join(text.split()) or "<NA>"
