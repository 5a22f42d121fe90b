"""Tab-separated values: start and end in whole milliseconds, and the text.

Where speakers are known, a fourth column names them.
"""

from typing import ClassVar

from maxwhisper_cli.writers.base import Document, Writer


class TsvWriter(Writer):
    """TSV, identical to the output of openai-whisper's `WriteTSV`."""

    name: ClassVar[str] = "tsv"

    def render(self, document: Document) -> str:
        """Returns a header line, then one line per segment; tabs in the text become spaces."""
        segments = document.transcript.segments
        has_speakers = any(segment.speaker is not None for segment in segments)
        rows = (
            f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t"
            f"{segment.text.strip().replace(chr(9), ' ')}"
            + (f"\t{segment.speaker}\n" if has_speakers else "\n")
            for segment in segments
        )
        header = "start\tend\ttext" + ("\tspeaker\n" if has_speakers else "\n")
        return header + "".join(rows)
