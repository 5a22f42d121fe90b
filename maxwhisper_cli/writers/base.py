"""Contract of the output formats, and the document that they write."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from maxwhisper_cli.captions.captions import Captions, make_captions
from maxwhisper_cli.transcription.segments import Transcript
from weights.errors import MaxWhisperError


class OutputError(MaxWhisperError):
    """An output cannot be written."""


@dataclass(frozen=True, slots=True)
class Document:
    """A transcript, with the model and implementation that made it."""

    transcript: Transcript
    task: str | None = None
    model: str | None = None
    """Name of the model, or the path it was loaded from; None if it is not known."""
    implementation: str | None = None
    device: str | None = None
    dtype: str | None = None
    notes: tuple[str, ...] = ()
    """Lines about the loading of the model."""
    recording: str = ""
    """Name of the recording, without folder and extension."""
    captions: Captions | None = None
    """Cues for formats that have them; None is openai-whisper's own."""

    def laid_out(self) -> Captions:
        """Returns the captions."""
        return self.captions or make_captions(self.transcript)


class Writer(ABC):
    """An output format."""

    name: ClassVar[str]
    """Name in `--output-format`; also the file extension."""
    needs_speakers: ClassVar[bool] = False
    """True if each segment must have a speaker."""

    @abstractmethod
    def render(self, document: Document) -> str:
        """Returns the whole file's text, with its final line feed."""
