"""Timed Text (`ttml`) of the W3C, within its text profile for captions, IMSC 1.1."""

import html
import re
from typing import ClassVar

from maxwhisper_cli.captions.cues import Cue
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.text_direction import is_right_to_left
from maxwhisper_cli.writers.times import format_timestamp

_HEADER = """\
<?xml version="1.0" encoding="UTF-8"?>
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttm="http://www.w3.org/ns/ttml#metadata"
    xmlns:ttp="http://www.w3.org/ns/ttml#parameter" xmlns:tts="http://www.w3.org/ns/ttml#styling"
    ttp:contentProfiles="http://www.w3.org/ns/ttml/profile/imsc1.1/text" ttp:timeBase="media"
    xml:lang="{language}" xml:space="default">
  <head>
{agents}    <styling>
      <style xml:id="caption" tts:color="white" tts:fontFamily="proportionalSansSerif"
             tts:fontSize="100%" tts:textAlign="center"/>
      <style xml:id="shade" tts:backgroundColor="#000000c0"/>
    </styling>
    <layout>
      <region xml:id="bottom" tts:origin="10% 70%" tts:extent="80% 25%" tts:displayAlign="after"/>
    </layout>
  </head>
  <body region="bottom" style="caption">
    <div>
"""
_FOOTER = """\
    </div>
  </body>
</tt>
"""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""


class TtmlWriter(Writer):
    """TTML with one paragraph for each cue, and an agent for each speaker."""

    name: ClassVar[str] = "ttml"

    def render(self, document: Document) -> str:
        """Returns an XML document.

        Hours may have more than two digits.
        """
        cues = document.laid_out().cues
        speakers = list(dict.fromkeys(cue.speaker for cue in cues if cue.speaker is not None))
        agents = {speaker: f"speaker{number}" for number, speaker in enumerate(speakers, start=1)}
        is_english = document.task == "translate"
        language = _text("en" if is_english else document.transcript.language)
        header = _HEADER.format(language=language, agents=_agents(agents))
        return header + "".join(_paragraph(cue, agents) for cue in cues) + _FOOTER


def _agents(agents: dict[str, str]) -> str:
    if not agents:
        return ""
    listed = "".join(
        f'      <ttm:agent xml:id="{identifier}" type="person">'
        f'<ttm:name type="alias">{_text(speaker)}</ttm:name></ttm:agent>\n'
        for speaker, identifier in agents.items()
    )
    return f"    <metadata>\n{listed}    </metadata>\n"


def _paragraph(cue: Cue, agents: dict[str, str]) -> str:
    start, end = (format_timestamp(at, always_include_hours=True) for at in (cue.start, cue.end))
    direction = ' tts:direction="rtl"' if is_right_to_left(cue.text) else ""
    agent = "" if cue.speaker is None else f' ttm:agent="{agents[cue.speaker]}"'
    text = "<br/>".join(_text(line) for line in cue.text.splitlines())
    return (
        f'      <p begin="{start}" end="{end}"{direction}{agent}>'
        f'<span style="shade">{text}</span></p>\n'
    )


def _text(text: str) -> str:
    return html.escape(_NOT_XML.sub("\ufffd", text), quote=False)
