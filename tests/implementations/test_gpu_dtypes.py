"""Transcripts in every dtype in which the implementations compute on a GPU."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from maxwhisper_cli.compare.accuracy import ErrorRate, accuracy
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded
from tests.support.hardware import needs_max_gpu

pytestmark = [
    pytest.mark.gpu,
    needs_max_gpu,
    pytest.mark.parametrize("name", ["cuda", "hybrid", "full-max"]),
]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_transcript_has_the_words(name: str, dtype: str, jfk: Path) -> None:
    with loaded.load("tiny.en", name, device="cuda", dtype=dtype) as model:
        assert (model.implementation.device, model.implementation.dtype) == ("cuda:0", dtype)
        for beam_size in (None, 5):
            text = model.transcribe(jfk, TranscribeOptions(beam_size=beam_size)).text
            assert words(text) == words(loaded.whisper_result("tiny.en", jfk, beam_size)["text"])


def words(text: str) -> list[str]:
    """Punctuation, which half precision may set otherwise, is left out."""
    return re.findall(r"[a-z]+", text.lower())


@pytest.mark.full
def test_float16_gets_no_more_words_wrong(name: str, shared_audio: Path) -> None:
    """At most 0.3 points of word error rate more than float32 on the CPU over all English files."""
    recordings = json.loads((shared_audio / "manifest.json").read_text())
    spoken = {
        shared_audio / recording["file"]: recording["transcript"]
        for recording in recordings
        if recording["language"] == "en"
    }
    assert len(spoken) >= 20
    options = TranscribeOptions(beam_size=None, temperatures=(0.0,))
    with loaded.load("tiny.en", name, device="cuda") as model:
        assert model.implementation.dtype == "float16"
        transcripts = {path: model.transcribe(path, options).text for path in spoken}
    exact = {path: loaded.whisper_result("tiny.en", path, None)["text"] for path in spoken}
    assert error_rate(spoken, transcripts) <= error_rate(spoken, exact) + 0.003


def error_rate(spoken: Mapping[Path, str], transcripts: Mapping[Path, str]) -> float:
    """Words wrong of all words, in all recordings together."""
    rates = (accuracy(spoken[path], transcripts[path], "en").wer for path in spoken)
    over_all = ErrorRate.over(rates)
    assert over_all is not None
    return over_all.rate
