"""Subtitles, SubRip (`srt`) and WebVTT (`vtt`): one cue per segment."""

from typing import ClassVar

from maxwhisper_cli.transcription.segments import Segment
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.speakers import name_speaker, voice_tag
from maxwhisper_cli.writers.times import format_timestamp


class SrtWriter(Writer):
    """SubRip, identical to the output of openai-whisper's `WriteSRT`."""

    name: ClassVar[str] = "srt"

    def render(self, document: Document) -> str:
        """Returns numbered cues; hours always, a comma before the milliseconds."""
        return "".join(
            f"{number}\n{self._times(segment)}\n"
            f"{_without_arrow(name_speaker(segment.text.strip(), segment.speaker))}\n\n"
            for number, segment in enumerate(document.transcript.segments, start=1)
        )

    @staticmethod
    def _times(segment: Segment) -> str:
        start, end = (
            format_timestamp(at, always_include_hours=True, decimal_marker=",")
            for at in (segment.start, segment.end)
        )
        return f"{start} --> {end}"


class VttWriter(Writer):
    """WebVTT, identical to the output of openai-whisper's `WriteVTT`."""

    name: ClassVar[str] = "vtt"

    def render(self, document: Document) -> str:
        """Returns a header, then cues without numbers; hours only from one hour on."""
        cues = (
            f"{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}\n"
            f"{voice_tag(_without_arrow(segment.text.strip()), segment.speaker)}\n\n"
            for segment in document.transcript.segments
        )
        return "WEBVTT\n\n" + "".join(cues)


def _without_arrow(text: str) -> str:
    """Returns a cue's text without the arrow that separates its times."""
    return text.replace("-->", "->")
