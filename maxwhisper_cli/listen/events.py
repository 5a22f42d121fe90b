"""Events of a live transcription, in seconds of the audio; plain data."""

from dataclasses import dataclass
from typing import TypeAlias

from maxwhisper_cli.transcription.segments import Word


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody begins to speak."""

    start: float


@dataclass(frozen=True, slots=True)
class Partial:
    """Text behind the final words that later audio may change; it replaces the partial before."""

    start: float
    end: float
    text: str
    """Text with its leading space; empty if the partial before is withdrawn."""


@dataclass(frozen=True, slots=True)
class FinalWords:
    """Words that will not change; the partial before them is void."""

    words: tuple[Word, ...]
    """At least one word; joined they are the text."""

    @property
    def start(self) -> float:
        """Start of the first word."""
        return self.words[0].start

    @property
    def end(self) -> float:
        """End of the last word."""
        return self.words[-1].end

    @property
    def text(self) -> str:
        """Text with its leading space; joined to the final text before, it goes on."""
        return "".join(word.word for word in self.words)


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """Speech has ended in a pause; all of its text is final."""

    start: float
    end: float
    text: str
    """Text of all its words, perhaps none."""


Event: TypeAlias = SpeechStarted | Partial | FinalWords | UtteranceEnded
