"""Plain text: one line per segment."""

from typing import ClassVar

from maxwhisper_cli.writers.base import Document, Writer


class TxtWriter(Writer):
    """Byte for byte what openai-whisper's `WriteTXT` writes."""

    name: ClassVar[str] = "txt"

    def render(self, document: Document) -> str:
        """One line per segment."""
        return "".join(f"{segment.text.strip()}\n" for segment in document.transcript.segments)
