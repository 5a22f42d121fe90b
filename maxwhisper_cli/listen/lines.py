"""Lines of a live transcript: final words, cut at sentences, pauses and lengths."""

from collections.abc import Sequence
from typing import Final

from maxwhisper_cli.listen.events import Event, FinalWords, UtteranceEnded
from maxwhisper_cli.transcription.segments import Segment, Word

_SENTENCE_ENDS: Final = ".?!。？！…"  # noqa: RUF001
_MIN_SECONDS: Final = 2.0
"""Shortest line that ends with a sentence; shorter ones go on."""
_MAX_SECONDS: Final = 10.0
_MAX_LETTERS: Final = 120


class LineBuilder:
    """Segments of one stream, from its events."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        """Segments that are complete."""
        self._words: list[Word] = []

    @property
    def begun(self) -> str:
        """Text of final words that are in no segment yet."""
        return "".join(word.word for word in self._words).strip()

    def take(self, event: Event) -> list[Segment]:
        """Returns the segments that an event completes."""
        completed: list[Segment] = []
        if isinstance(event, FinalWords):
            for word in event.words:
                self._words.append(word)
                if self._is_complete():
                    completed += self.end()
        elif isinstance(event, UtteranceEnded):
            completed += self.end()
        return completed

    def end(self) -> list[Segment]:
        """Completes the segment that was begun, if there is one."""
        words, self._words = self._words, []
        if not "".join(word.word for word in words).strip():
            return []
        segment = _segment(len(self.segments), words)
        self.segments.append(segment)
        return [segment]

    def _is_complete(self) -> bool:
        seconds = self._words[-1].end - self._words[0].start
        n_letters = sum(len(word.word) for word in self._words)
        if seconds >= _MAX_SECONDS or n_letters >= _MAX_LETTERS:
            return True
        return seconds >= _MIN_SECONDS and self._words[-1].word.strip()[-1:] in _SENTENCE_ENDS


def _segment(number: int, words: Sequence[Word]) -> Segment:
    return Segment(
        id=number,
        seek=0,
        start=words[0].start,
        end=words[-1].end,
        text="".join(word.word for word in words),
        tokens=(),
        temperature=0.0,
        avg_logprob=0.0,
        compression_ratio=0.0,
        no_speech_prob=0.0,
        words=tuple(words),
    )
