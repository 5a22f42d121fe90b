"""Output formats: byte for byte openai-whisper's own, and JSON that any parser reads."""

import dataclasses
import io
import json
import math
from pathlib import Path

import pytest
from whisper import utils as whisper_utils

from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript, Word
from maxwhisper_cli.writers.base import Document
from maxwhisper_cli.writers.registry import ALL, WRITERS, choose_writers
from maxwhisper_cli.writers.render import render
from tests.support import loaded
from tests.support.transcripts import as_whisper_result, segment, transcript

UPSTREAM = {
    "txt": whisper_utils.WriteTXT,
    "srt": whisper_utils.WriteSRT,
    "vtt": whisper_utils.WriteVTT,
    "tsv": whisper_utils.WriteTSV,
    "json": whisper_utils.WriteJSON,
}


def document(of: Transcript) -> Document:
    return Document(of, "transcribe", "base", "cpu", "cpu", "float32")


ODD = transcript(
    segment(0.0, 1.0, " Grüße, 世界 🙂"),
    segment(1.0, 1.0, ""),
    segment(59.9995, 61.2345, "  tab\there --> there "),
    segment(3599.9996, 3661.001, ' "quoted" <b>\\n</b> & more'),
    segment(3661.0014, 40000.0, "two\nlines"),
)
EMPTY = transcript()


def upstream_writes(name: str, of: Transcript) -> str:
    file = io.StringIO()
    UPSTREAM[name]("").write_result(as_whisper_result(of), file=file)
    return file.getvalue()


@pytest.fixture(scope="module")
def spoken(jfk: Path) -> Transcript:
    options = TranscribeOptions(beam_size=None, temperatures=(0.0,))
    return loaded.model("tiny.en", "cpu").transcribe(jfk, options)


@pytest.mark.parametrize("name", ["txt", "srt", "vtt", "tsv"])
def test_real_speech_is_written_as_openai_whisper_writes_it(name: str, spoken: Transcript) -> None:
    assert len(spoken.segments) >= 2
    assert WRITERS[name].render(document(spoken)) == upstream_writes(name, spoken)


@pytest.mark.parametrize("name", ["txt", "srt", "vtt", "tsv"])
@pytest.mark.parametrize("of", [ODD, EMPTY], ids=["odd", "empty"])
def test_odd_text_and_times_are_written_as_openai_whisper_writes_them(
    name: str, of: Transcript
) -> None:
    assert WRITERS[name].render(document(of)) == upstream_writes(name, of)


@pytest.mark.parametrize("of", [ODD, EMPTY], ids=["odd", "empty"])
def test_json_begins_with_openai_whispers_keys(of: Transcript) -> None:
    text = WRITERS["json"].render(document(of))
    ours, theirs = json.loads(text), json.loads(upstream_writes("json", of))
    assert {key: ours[key] for key in theirs} == theirs
    assert list(ours)[: len(theirs)] == list(theirs)
    assert [list(s) for s in ours["segments"]] == [list(s) for s in theirs["segments"]]
    assert "\\u" not in text


def test_json_has_model_and_implementation() -> None:
    written = json.loads(WRITERS["json"].render(document(ODD)))
    del written["text"], written["segments"]
    assert written == {
        "language": "de",
        "language_probability": 0.75,
        "duration": 4000.5,
        "cuts": [],
        "task": "transcribe",
        "model": "base",
        "implementation": "cpu",
        "device": "cpu",
        "dtype": "float32",
        "warnings": [],
    }


def test_json_of_a_transcript_alone_names_no_model() -> None:
    written = json.loads(render(ODD, "json"))
    assert list(written) == [
        *(
            "text",
            "segments",
            "language",
            "language_probability",
            "duration",
            "cuts",
            "task",
            "warnings",
        )
    ]


def test_a_format_that_cannot_be_rendered_is_an_error() -> None:
    with pytest.raises(OptionsError, match="no output format 'all'; choose from txt, vtt"):
        render(ODD, "all")
    with pytest.raises(OptionsError, match="rttm needs speakers"):
        render(ODD, "rttm")


def test_numbers_beyond_json_are_null() -> None:
    odd = transcript(segment(0, 1, "x", avg_logprob=math.nan, no_speech_prob=math.inf))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    written = json.loads(WRITERS["json"].render(document(odd)), parse_constant=refuse)
    assert written["segments"][0]["avg_logprob"] is None
    assert written["segments"][0]["no_speech_prob"] is None
    assert written["segments"][0]["temperature"] == 0.2


def test_numbers_of_words_beyond_json_are_null() -> None:
    words = (Word(" x", 0.0, 1.0, math.nan),)
    odd = transcript(segment(0, 1, " x", words=words))
    written = json.loads(WRITERS["json"].render(document(odd)))
    assert written["segments"][0]["words"] == [
        {"word": " x", "start": 0.0, "end": 1.0, "probability": None}
    ]


def chosen(*formats: str) -> list[str]:
    return [writer.name for writer in choose_writers(formats)]


def test_formats_are_chosen_by_name() -> None:
    assert chosen("all") == ["txt", "vtt", "srt", "tsv", "json"]
    assert chosen("srt, TXT", "srt") == ["srt", "txt"]
    for nonsense in ("doc", "", "txt,"):
        with pytest.raises(OptionsError, match="no output format"):
            chosen(nonsense)


def test_writers_are_registered_under_their_names() -> None:
    others = ["lrc", "ass", "ttml", "csv", "md", "rttm"]
    assert set(ALL) == set(UPSTREAM)
    assert {name: writer.name for name, writer in WRITERS.items()} == {
        name: name for name in [*ALL, *others]
    }


def test_json_has_the_languages_of_windows_where_these_were_detected() -> None:
    segments = tuple(dataclasses.replace(segment, language="de") for segment in ODD.segments)
    written = json.loads(
        WRITERS["json"].render(document(dataclasses.replace(ODD, segments=segments)))
    )
    assert {segment["language"] for segment in written["segments"]} == {"de"}
