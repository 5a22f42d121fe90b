"""Plain text: one line per segment."""

from typing import ClassVar

from maxwhisper_cli.writers.base import Document, Writer


class TxtWriter(Writer):
    """Plain text, identical to the output of openai-whisper's `WriteTXT`."""

    name: ClassVar[str] = "txt"

    def render(self, document: Document) -> str:
        """Returns one line per segment."""
        return "".join(f"{segment.text.strip()}\n" for segment in document.transcript.segments)
