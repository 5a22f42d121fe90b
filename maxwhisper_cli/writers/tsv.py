"""Tab-separated values: start and end in whole milliseconds, and the text."""

from typing import ClassVar

from maxwhisper_cli.writers.base import Document, Writer


class TsvWriter(Writer):
    """TSV, identical to the output of openai-whisper's `WriteTSV`."""

    name: ClassVar[str] = "tsv"

    def render(self, document: Document) -> str:
        """Returns a header line, then one line per segment; tabs in the text become spaces."""
        rows = (
            f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t"
            f"{segment.text.strip().replace(chr(9), ' ')}\n"
            for segment in document.transcript.segments
        )
        return "start\tend\ttext\n" + "".join(rows)
