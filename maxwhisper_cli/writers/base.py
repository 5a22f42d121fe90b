"""Contract of the output formats, and the document that they write."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from maxwhisper_cli.transcription.segments import Transcript
from weights.errors import MaxWhisperError


class OutputError(MaxWhisperError):
    """An output cannot be written."""


@dataclass(frozen=True, slots=True)
class Document:
    """A transcript, with the model and implementation that made it."""

    transcript: Transcript
    task: str
    model: str
    """Name of the model, or the path it was loaded from."""
    implementation: str
    device: str
    dtype: str
    notes: tuple[str, ...] = ()
    """Lines about the loading of the model."""
    recording: str = ""
    """Name of the recording, without folder and extension."""


class Writer(ABC):
    """An output format."""

    name: ClassVar[str]
    """Name in `--output-format`; also the file extension."""
    needs_speakers: ClassVar[bool] = False
    """True if each segment must have a speaker."""

    @abstractmethod
    def render(self, document: Document) -> str:
        """Returns the whole file's text, with its final line feed."""
