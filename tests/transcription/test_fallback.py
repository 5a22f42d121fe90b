"""Conditions of fallback and of silence."""

from dataclasses import replace

import numpy as np
import pytest

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.transcription.fallback import (
    WindowText,
    compression_ratio,
    decode_with_fallback,
)
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import RunningStopwatch, Spent
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support.driving import finish
from tests.support.scripted import TINY_EN, ScriptedImplementation, window

TOKENIZER = get_tokenizer(False)
GOOD = TOKENIZER.encode(" Ask what you can do for your country.")
LOOP = TOKENIZER.encode(" you can see that" * 30)


def run(
    by_temperature: dict[float, DecodedWindow], options: TranscribeOptions
) -> tuple[WindowText, list[DecodeRequest]]:
    implementation = ScriptedImplementation(lambda r: by_temperature[r.search.temperature])
    features = implementation.encode(np.zeros((1, 80, 3000), np.float32))
    builder = RequestBuilder.create(TINY_EN, options, TOKENIZER)
    result = finish(implementation, decode_with_fallback(features, builder, (), seek=1234))
    return result, implementation.requests


OPTIONS = TranscribeOptions(temperatures=(0.0, 0.4, 0.8))


def test_good_text_needs_no_fallback() -> None:
    result, requests = run({0.0: window(GOOD)}, OPTIONS)
    assert (result.temperature, len(requests)) == (0.0, 1)
    assert result.compression_ratio == compression_ratio(TOKENIZER.decode(GOOD).strip())


@pytest.mark.parametrize("bad", [window(LOOP), window(GOOD, avg_logprob=-1.3)], ids=["loop", "odd"])
def test_bad_text_is_decoded_again(bad: DecodedWindow) -> None:
    result, requests = run({0.0: bad, 0.4: window(GOOD)}, OPTIONS)
    assert result.temperature == 0.4
    assert [r.search.temperature for r in requests] == [0.0, 0.4]
    assert [r.search.is_beam_search for r in requests] == [True, False]
    assert [r.search.n_group for r in requests] == [5, 5]


def test_last_temperature_is_final() -> None:
    result, requests = run(dict.fromkeys((0.0, 0.4, 0.8), window(LOOP)), OPTIONS)
    assert (result.temperature, len(requests)) == (0.8, 3)


def test_each_sampling_has_its_own_seed() -> None:
    _, requests = run(dict.fromkeys((0.0, 0.4, 0.8), window(LOOP)), replace(OPTIONS, seed=5))
    assert [r.search.seed for r in requests] == [(5, 1234, 0), (5, 1234, 1), (5, 1234, 2)]


def test_thresholds_can_be_turned_off() -> None:
    options = replace(OPTIONS, compression_ratio_threshold=None, logprob_threshold=None)
    _, requests = run({0.0: window(LOOP, avg_logprob=-3.0)}, options)
    assert len(requests) == 1


def test_unlikely_text_over_silence_is_not_decoded_again() -> None:
    silent = window(GOOD, avg_logprob=-1.5, no_speech_prob=0.9)
    result, requests = run({0.0: silent}, OPTIONS)
    assert len(requests) == 1
    assert result.is_silence(OPTIONS)


@pytest.mark.parametrize(
    ("avg_logprob", "no_speech_prob", "threshold", "is_silence"),
    [
        (-1.5, 0.9, 0.6, True),
        (-0.5, 0.9, 0.6, False),
        (-1.5, 0.5, 0.6, False),
        (-9, 1, None, False),
    ],
)
def test_silence(
    avg_logprob: float, no_speech_prob: float, threshold: float | None, is_silence: bool
) -> None:
    text = WindowText((1,), 0.0, avg_logprob, 1.0, no_speech_prob)
    assert text.is_silence(replace(OPTIONS, no_speech_threshold=threshold)) is is_silence


def test_decoder_times_have_entries_of_their_own() -> None:
    implementation = ScriptedImplementation(
        lambda r: replace(
            window(LOOP if r.search.temperature == 0 else GOOD),
            prompt_seconds=3.0 * (r.search.temperature == 0),
            steps_seconds=20.0,
            n_steps=10,
        )
    )
    features = implementation.encode(np.zeros((1, 80, 3000), np.float32))
    builder = RequestBuilder.create(TINY_EN, OPTIONS, TOKENIZER)
    watch = RunningStopwatch()
    finish(implementation, decode_with_fallback(features, builder, (), 0), watch)
    assert watch.spent["decoder: prompts"] == Spent(3.0, 2)
    assert watch.spent["decoder: steps"] == Spent(40.0, 20)
    assert watch.spent["decoder: all else"].n_times == 2
