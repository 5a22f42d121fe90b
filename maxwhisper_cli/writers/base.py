"""The contract of the output formats, and what they are given to write."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from maxwhisper_cli.transcription.segments import Transcript
from weights.errors import MaxWhisperError


class OutputError(MaxWhisperError):
    """An output cannot be written."""


@dataclass(frozen=True, slots=True)
class Document:
    """A transcript and what made it."""

    transcript: Transcript
    task: str
    model: str
    """Name of the model, or the path it was loaded from."""
    implementation: str
    device: str
    dtype: str


class Writer(ABC):
    """An output format."""

    name: ClassVar[str]
    """What `--output-format` calls it; also the file extension."""

    @abstractmethod
    def render(self, document: Document) -> str:
        """The whole file's text, with the line feed that ends it."""
