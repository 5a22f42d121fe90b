"""Names of speakers in every format, and who speaks when."""

import dataclasses
import json
from typing import Any

from maxwhisper_cli.transcription.segments import Segment, Transcript, Word
from maxwhisper_cli.writers.base import Document
from maxwhisper_cli.writers.registry import WRITERS


def segment(start: float, end: float, text: str, **changes: Any) -> Segment:
    made = Segment(0, 0, start, end, text, (50364, 440, 50414), 0.2, -0.25, 1.5, 0.01)
    return dataclasses.replace(made, **changes)


def document(*segments: Segment, recording: str = "") -> Document:
    text = "".join(each.text for each in segments)
    transcript = Transcript(text, segments, "en", 0.75, 4000.5)
    return Document(transcript, "transcribe", "base", "cpu", "cpu", "float32", recording=recording)


CALL = (
    segment(0.0, 2.0, " Hello.", speaker="Anna Lee"),
    segment(1.0, 1.0, "", speaker="B & <C>"),
    segment(1.5, 4.25, " Hi --> you\tthere.", speaker="B & <C>"),
)


def test_speakers_are_named_in_each_format() -> None:
    rendered = {name: WRITERS[name].render(document(*CALL)) for name in WRITERS}
    assert rendered["txt"] == "Anna Lee: Hello.\n\nB & <C>: Hi --> you\tthere.\n"
    assert rendered["srt"] == (
        "1\n00:00:00,000 --> 00:00:02,000\nAnna Lee: Hello.\n\n"
        "2\n00:00:01,000 --> 00:00:01,000\n\n\n"
        "3\n00:00:01,500 --> 00:00:04,250\nB & <C>: Hi -> you\tthere.\n\n"
    )
    assert "\n<v Anna Lee>Hello.</v>\n" in rendered["vtt"]
    assert "\n<v B &amp; &lt;C&gt;>Hi -> you\tthere.</v>\n" in rendered["vtt"]
    assert rendered["tsv"].splitlines() == [
        "start\tend\ttext\tspeaker",
        "0\t2000\tHello.\tAnna Lee",
        "1000\t1000\t\tB & <C>",
        "1500\t4250\tHi --> you there.\tB & <C>",
    ]
    speakers = [s["speaker"] for s in json.loads(rendered["json"])["segments"]]
    assert speakers == ["Anna Lee", "B & <C>", "B & <C>"]


def test_rttm_has_segments_or_spans_of_words() -> None:
    pause = (Word(" Yes.", 10.0, 10.4, 1.0), Word(" No", 10.5, 10.75, 1.0))
    words = (*pause, Word(" way.", 11.25, 11.5, 1.0))
    of_words = (*CALL, segment(10.0, 12.0, " Yes. No way.", speaker="A", words=words))
    of = document(*of_words, recording="my call")
    assert WRITERS["rttm"].render(of).splitlines() == [
        "SPEAKER my_call 1 0.000 2.000 <NA> <NA> Anna_Lee <NA> <NA>",
        "SPEAKER my_call 1 1.500 2.750 <NA> <NA> B_&_<C> <NA> <NA>",
        "SPEAKER my_call 1 10.000 0.750 <NA> <NA> A <NA> <NA>",
        "SPEAKER my_call 1 11.250 0.250 <NA> <NA> A <NA> <NA>",
    ]
