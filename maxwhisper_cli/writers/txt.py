"""Plain text: one line per segment."""

from typing import ClassVar

from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.speakers import name_speaker


class TxtWriter(Writer):
    """Plain text, identical to the output of openai-whisper's `WriteTXT`."""

    name: ClassVar[str] = "txt"

    def render(self, document: Document) -> str:
        """Returns one line per segment."""
        return "".join(
            f"{name_speaker(segment.text.strip(), segment.speaker)}\n"
            for segment in document.transcript.segments
        )
