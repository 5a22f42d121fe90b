"""Subtitles, SubRip (`srt`) and WebVTT (`vtt`), from a transcript's cues."""

import html
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from maxwhisper_cli.captions.cues import Cue
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.speakers import name_speaker, voice_tag
from maxwhisper_cli.writers.text_direction import with_direction
from maxwhisper_cli.writers.times import format_timestamp

_escape = partial(html.escape, quote=False)


class SrtWriter(Writer):
    """SubRip; without a caption style identical to the output of openai-whisper's `WriteSRT`.

    In a style, lines from right to left say so, or players put their punctuation at the wrong end.
    """

    name: ClassVar[str] = "srt"

    def render(self, document: Document) -> str:
        """Returns numbered cues; hours always, a comma before the milliseconds."""
        captions = document.laid_out()
        change = None if captions.style_name is None else with_direction
        return "".join(
            f"{number}\n{self._times(cue)}\n{self._text(cue, change)}\n\n"
            for number, cue in enumerate(captions.shown(), start=1)
        )

    @staticmethod
    def _text(cue: Cue, change: Callable[[str], str] | None) -> str:
        speaker = None if cue.speaker is None else cue.speaker.replace("-->", "->")
        text = name_speaker(cue.text, speaker)
        return text if change is None else change(text)

    @staticmethod
    def _times(cue: Cue) -> str:
        start, end = (
            format_timestamp(at, always_include_hours=True, decimal_marker=",")
            for at in (cue.start, cue.end)
        )
        return f"{start} --> {end}"


class VttWriter(Writer):
    """WebVTT; without a caption style identical to the output of openai-whisper's `WriteVTT`.

    In a style `&` and `<` are escaped, as the format wants it; openai-whisper leaves them.
    """

    name: ClassVar[str] = "vtt"

    def render(self, document: Document) -> str:
        """Returns a header, then cues without numbers; hours only from one hour on."""
        captions = document.laid_out()
        escape = None if captions.style_name is None else _escape
        cues = (
            f"{format_timestamp(cue.start)} --> {format_timestamp(cue.end)}\n"
            f"{voice_tag(cue.text, cue.speaker)}\n\n"
            for cue in captions.shown(escape)
        )
        return "WEBVTT\n\n" + "".join(cues)
