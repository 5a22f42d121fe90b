"""Prefix, carried prompts, languages of windows, and ends of segments: better than upstream."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription import recording_language
from maxwhisper_cli.transcription.language_id import DetectedLanguage
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.speakers import start_run
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support import loaded
from tests.support.driving import parts
from tests.support.scripted import BEGIN, EOT, ScriptedImplementation, window

TOKENIZER = get_tokenizer(False)
MULTILINGUAL = get_tokenizer(True)
OPTIONS = TranscribeOptions(temperatures=(0.0,))
PREFIX = "And so my fellow Americans"
N_PROMPT = 223
"""Tokens of a prompt at most: half of the decoder's positions, but for the one that opens it."""


def run(
    answer: DecodedWindow, seconds: float, options: TranscribeOptions, n_vocab: int = 51864
) -> tuple[Transcript, list[DecodeRequest]]:
    def script(_request: DecodeRequest) -> DecodedWindow:
        return answer

    implementation = ScriptedImplementation(script)
    implementation.dims = replace(implementation.dims, n_vocab=n_vocab)
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)
    with MelSpectrogram([noise], 80) as mel:
        n_rows = int(options.batch_size)
        transcription = start_run(implementation, mel, options, is_cut=n_rows > 1)
        for _ in parts(implementation, transcription, n_rows):
            pass
        return transcription.transcript, implementation.requests


def text_of(text: str, end_seconds: float = 20) -> DecodedWindow:
    end = BEGIN + round(end_seconds / 0.02)
    return window([*TOKENIZER.encode(text), end, end])


@pytest.mark.parametrize("options", [{}, {"beam_size": None}, {"beam_size": 1}])
def test_text_begins_with_its_prefix(
    jfk: Path, quick_model: Model, options: dict[str, Any]
) -> None:
    """The test of faster-whisper, with its text."""
    chosen = TranscribeOptions(prefix=PREFIX, temperatures=(0.0,), **options)
    transcript = quick_model.transcribe(jfk, chosen)
    assert transcript.text.startswith(f" {PREFIX}")
    assert "ask what you can do for your country" in transcript.text
    assert transcript.text.lower().count("fellow americans") == 1
    assert transcript.segments[0].start == 0
    assert 10 < transcript.segments[-1].end <= 11


@cache
def continued_by_cpu(path: Path, beam_size: int | None) -> str:
    options = TranscribeOptions(prefix=PREFIX, temperatures=(0.0,), beam_size=beam_size)
    return loaded.model("tiny.en", "cpu").transcribe(path, options).text


@pytest.mark.parametrize("impl", ["hybrid", "full-max"])
def test_every_implementation_continues_a_prefix(jfk: Path, impl: str) -> None:
    pytest.importorskip("max")
    for beam_size in (None, 3):
        options = TranscribeOptions(prefix=PREFIX, temperatures=(0.0,), beam_size=beam_size)
        transcript = loaded.model("tiny.en", impl).transcribe(jfk, options)
        assert transcript.text == continued_by_cpu(jfk, beam_size)


def test_a_prefix_is_sampled_on_from(jfk: Path, quick_model: Model) -> None:
    options = TranscribeOptions(prefix=PREFIX, temperatures=(0.2,), best_of=2, sample_len=3)
    transcript = quick_model.transcribe(jfk, options)
    assert transcript.text.startswith(f" {PREFIX}")
    assert len(TOKENIZER.encode(transcript.text)) <= len(TOKENIZER.encode(f" {PREFIX}")) + 3


def test_only_the_first_window_has_the_prefix() -> None:
    transcript, requests = run(text_of(" me."), 60, replace(OPTIONS, prefix=" Tell "))
    given = (BEGIN, *TOKENIZER.encode(" Tell"))
    assert [r.prompt[-len(given) :] == given for r in requests] == [True, False, False]
    assert [r.n_given for r in requests] == [len(given), 0, 0]
    assert transcript.text.startswith(" Tell me.")
    assert transcript.text.count("Tell") == 1
    assert transcript.segments[0].tokens[: len(given)] == given


def test_of_several_shards_only_the_first_has_the_prefix() -> None:
    transcript, _ = run(text_of(" me.", 30), 300, replace(OPTIONS, prefix="Tell", batch_size=2))
    assert transcript.text.startswith(" Tell me.")
    assert transcript.text.count("Tell") == 1


def test_without_timestamps_the_prefix_has_none() -> None:
    options = replace(OPTIONS, prefix="Tell", without_timestamps=True)
    transcript, requests = run(window(TOKENIZER.encode(" me.")), 10, options)
    assert requests[0].prompt == (
        *TOKENIZER.sot_sequence_including_notimestamps,
        *TOKENIZER.encode(" Tell"),
    )
    assert transcript.text == " Tell me."
    assert (requests[0].n_given, requests[0].rules.suppressed_first) == (0, ())


def test_a_prefix_without_timestamps_may_be_prompt(jfk: Path, quick_model: Model) -> None:
    """The text is that behind tokens which count as sampled: greedy, of beams, and drawn."""
    implementation = quick_model.implementation
    with MelSpectrogram([loaded.samples_of(jfk)], 80) as mel:
        features = implementation.encode(mel.window(0, 3000)[None])
    for temperature, beam_size in ((0.0, None), (0.0, 3), (0.4, None)):
        options = TranscribeOptions(prefix=PREFIX, without_timestamps=True, beam_size=beam_size)
        builder = RequestBuilder.create(implementation.dims, options, TOKENIZER)
        prompt = builder.build((), temperature, (1,))
        assert prompt.n_given == 0
        given = replace(prompt, n_given=len(builder.prefix), rules=builder.rules)
        assert implementation.decode(features, prompt) == implementation.decode(features, given)


@pytest.mark.parametrize("prefix", ["", "  "])
def test_an_empty_prefix_is_none(prefix: str) -> None:
    _, requests = run(text_of(" One."), 10, replace(OPTIONS, prefix=prefix))
    assert (requests[0].prompt, requests[0].n_given) == (TOKENIZER.sot_sequence, 0)


@pytest.mark.parametrize("n_words", [N_PROMPT - 1, N_PROMPT, N_PROMPT + 1, 3 * N_PROMPT])
def test_a_carried_prompt_of_any_length_is_carried(n_words: int) -> None:
    prompt = " ".join(["word"] * n_words)
    assert len(TOKENIZER.encode(" " + prompt)) == n_words
    options = replace(OPTIONS, initial_prompt=prompt, carry_initial_prompt=True)
    transcript, requests = run(
        window([BEGIN, *TOKENIZER.encode(" One."), BEGIN + 1500]), 70, options
    )
    shown = TOKENIZER.encode(" " + prompt)[-N_PROMPT:]
    assert len(requests) == 3
    for request in requests:
        previous = list(request.prompt[1 : request.sot_index])
        assert previous[: len(shown)] == shown
        assert len(previous) <= N_PROMPT
    is_cut = n_words > N_PROMPT
    assert [f"has {n_words} tokens" in warning for warning in transcript.warnings] == [
        True
    ] * is_cut


@pytest.mark.parametrize(
    "changes",
    [
        {"suppress_tokens": range(51864)},
        {"suppress_tokens": range(BEGIN)},
        {"suppress_tokens": range(BEGIN, 51864)},
        {"suppress_tokens": range(BEGIN, BEGIN + 6), "max_initial_timestamp": 0.1},
        {"suppress_tokens": range(EOT), "without_timestamps": True, "max_initial_timestamp": 0.0}
        | {"suppress_tokens": [t for t in range(51864) if t != EOT]},
    ],
)
def test_rules_that_leave_no_token_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match="leaves no token to choose"):
        run(text_of(" One."), 10, replace(OPTIONS, **changes))


def test_rules_that_leave_some_are_not() -> None:
    last = replace(OPTIONS, suppress_tokens=tuple(range(BEGIN, BEGIN + 5)))
    for options in (last, replace(last, max_initial_timestamp=0.1)):
        assert run(text_of(" One."), 10, options)[1]


def test_a_latest_start_behind_the_window_limits_nothing() -> None:
    for seconds in (30.0, 31.0, 1e300):
        _, requests = run(text_of(" One."), 10, replace(OPTIONS, max_initial_timestamp=seconds))
        assert requests[0].rules.max_initial_timestamp == 1500


def test_ends_are_clamped_where_so_asked() -> None:
    for batch_size in (1, 2):
        options = replace(OPTIONS, batch_size=batch_size)
        late = window([BEGIN, *TOKENIZER.encode(" One."), BEGIN + 1400])
        plain, _ = run(late, 10, options)
        clamped, _ = run(late, 10, replace(options, clamp_timestamps=True))
        assert [s.end for s in plain.segments] == [28.0]
        assert [s.end for s in clamped.segments] == [10.0]
        assert [s.tokens for s in clamped.segments] == [s.tokens for s in plain.segments]


@pytest.mark.parametrize(("batch_size", "seconds"), [(1, 110), (2, 55)])
def test_the_language_of_each_window(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, seconds: int
) -> None:
    """Windows of a recording in turn, and the two parts of one that is cut."""
    languages = ["es", "es", "en", "de"] if batch_size == 1 else ["es", "en"]
    codes = iter(["es", *languages])

    def detect(_impl: object, windows: Iterable[AudioFeatures], *_: object) -> DetectedLanguage:
        assert [len(features) for features in windows] == [1]
        return DetectedLanguage(next(codes), 0.9)

    monkeypatch.setattr(recording_language, "detect_language", detect)
    begin = MULTILINGUAL.timestamp_begin
    answer = window([begin, *MULTILINGUAL.encode(" One."), begin + 1500])
    options = replace(OPTIONS, multilingual=True, batch_size=batch_size)
    transcript, requests = run(answer, seconds, options, n_vocab=51865)
    assert [r.prompt[r.sot_index + 1] for r in requests] == [
        MULTILINGUAL.to_language_token(code) for code in languages
    ]
    assert transcript.language == "es"
    has_prompt = [request.prompt[0] == MULTILINGUAL.sot_prev for request in requests]
    expected = [False, True, False, False] if batch_size == 1 else [False, False]
    assert has_prompt == expected  # none of another language, nor before a cut
    assert [segment.language for segment in transcript.segments] == languages


def test_english_model_warns_of_unsupported_options() -> None:
    options = replace(OPTIONS, language="es", task="translate")
    transcript, _ = run(text_of(" One."), 10, options)
    assert transcript.language == "en"
    assert ["not es" in w or "cannot translate" in w for w in transcript.warnings] == [True, True]
    assert run(text_of(" One."), 10, replace(OPTIONS, multilingual=True))[0].warnings
    assert run(text_of(" One."), 10, replace(OPTIONS, language="en"))[0].warnings == ()
