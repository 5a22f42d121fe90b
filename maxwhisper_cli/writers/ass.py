r"""Advanced SubStation Alpha (`ass`): cues in which each word lights up as it is spoken.

Words have karaoke tags, `{\k50}` for half a second. Text that looks like a tag is escaped as
FFmpeg does it: `\{`, and a word joiner after a backslash.
"""

import re
from collections.abc import Iterator
from typing import ClassVar

from maxwhisper_cli.captions.cues import Cue
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.text_direction import is_right_to_left

_STYLE_FIELDS = (
    "Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, "
    "Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, "
    "Alignment, MarginL, MarginR, MarginV, Encoding"
)
_WHITE, _YELLOW = "&H00FFFFFF", "&H0000E5FF"
_AUTOMATIC_DIRECTION = -1
"""Encoding that lets the text decide its direction, for players with libass."""
_HEADER = """\
[Script Info]
ScriptType: v4.00+
PlayResX: 1920
PlayResY: 1080
ScaledBorderAndShadow: yes
WrapStyle: 0

[V4+ Styles]
Format: {fields}
{styles}

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")


class AssWriter(Writer):
    """ASS for a picture of 1920 x 1080, which players scale."""

    name: ClassVar[str] = "ass"

    def render(self, document: Document) -> str:
        """Returns a header with two styles, for text and for words with times, and the cues."""
        cues = document.laid_out().cues
        is_rtl = any(is_right_to_left(cue.text) for cue in cues)
        encoding = _AUTOMATIC_DIRECTION if is_rtl else 1
        styles = "\n".join(
            f"Style: {name},Arial,60,{colour},{_WHITE},&H00000000,&H80000000,"
            f"0,0,0,0,100,100,0,0,1,3,1,2,120,120,60,{encoding}"
            for name, colour in (("Default", _WHITE), ("Karaoke", _YELLOW))
        )
        header = _HEADER.format(fields=_STYLE_FIELDS, styles=styles)
        return header + "".join(f"{_event(cue)}\n" for cue in cues)


def _event(cue: Cue) -> str:
    style = "Karaoke" if cue.words else "Default"
    speaker = re.sub(r"[,\s]+", " ", cue.speaker or "")
    text = "".join(_karaoke(cue)) if cue.words else _escaped(cue.text)
    return f"Dialogue: 0,{_time(cue.start)},{_time(cue.end)},{style},{speaker},0,0,0,,{text}"


def _karaoke(cue: Cue) -> Iterator[str]:
    """Yields words with their durations; the sum of these never drifts from the times."""
    at = _hundredths(cue.start)
    for word in cue.words:
        start, end = max(at, _hundredths(word.start)), _hundredths(word.end)
        text = word.word.lstrip()
        yield _escaped(word.word[: len(word.word) - len(text)])
        if start > at:
            yield f"{{\\k{start - at}}}"
        at = max(start, end)
        yield f"{{\\k{at - start}}}{_escaped(text)}"


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\\u2060").replace("{", r"\{").replace("}", r"\}")
    return _LINE_BREAK.sub(r"\\N", text)


def _hundredths(seconds: float) -> int:
    return round(seconds * 100)


def _time(seconds: float) -> str:
    n_minutes, n_hundredths = divmod(_hundredths(seconds), 6000)
    n_hours, n_minutes = divmod(n_minutes, 60)
    n_seconds, n_hundredths = divmod(n_hundredths, 100)
    return f"{n_hours}:{n_minutes:02d}:{n_seconds:02d}.{n_hundredths:02d}"
