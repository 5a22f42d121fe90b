"""Comma-separated values (`csv`): start and end in whole milliseconds, speaker, and the text."""

import csv
import io
from typing import ClassVar

from maxwhisper_cli.writers.base import Document, Writer


class CsvWriter(Writer):
    """CSV of segments, quoted as RFC 4180 has it; the speaker only where there are any."""

    name: ClassVar[str] = "csv"

    def render(self, document: Document) -> str:
        """Returns a header line, then one row per segment."""
        segments = document.transcript.segments
        has_speakers = any(segment.speaker is not None for segment in segments)
        file = io.StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["start", "end", *["speaker"] * has_speakers, "text"])
        for segment in segments:
            speaker = [segment.speaker or ""] * has_speakers
            times = round(1000 * segment.start), round(1000 * segment.end)
            rows.writerow([*times, *speaker, segment.text.strip()])
        return file.getvalue()
