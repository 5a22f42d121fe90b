"""Live transcription of real speech with real weights, in simulated time.

An update takes 0.2 s of the clock, whatever the machine: what is asserted are times of the audio.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from implementations.implementation import Implementation
from maxwhisper_cli.compare.accuracy import accuracy
from maxwhisper_cli.listen.drive import run_together
from maxwhisper_cli.listen.events import (
    Event,
    FinalWords,
    Partial,
    SpeechStarted,
    UtteranceEnded,
)
from maxwhisper_cli.listen.options import ListenOptions
from maxwhisper_cli.listen.transcriber import LiveTranscriber
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.transcription.options import OptionsError
from tests.listen.conftest import PlayLive
from tests.support import loaded
from tests.support.live_clock import SAMPLE_RATE, Played

JFK = (
    "And so my fellow Americans ask not what your country can do for you ask what you can do for "
    "your country"
)
MAX_WRONG_WORDS = 2  # of 22; offline there is none


@pytest.fixture(scope="module")
def played(play_live: PlayLive, jfk: Path) -> Played:
    return play_live(loaded.samples_of(jfk))


def events_of(stream: Played) -> list[Event]:
    return [event for _, event in stream.events]


def test_the_text_is_that_of_the_speech(played: Played) -> None:
    wer = accuracy(JFK, played.text, "en").wer
    assert wer is not None
    assert wer.n_errors <= MAX_WRONG_WORDS


def test_words_come_in_order_and_soon(played: Played) -> None:
    for (_, word), (_, following) in pairwise(played.words):
        assert word.start <= word.end <= following.start
    lags = [at - word.end for at, word in played.words]
    assert np.mean(lags) <= 3.5  # an update each second and a half
    assert min(lags) > 0
    assert played.first_text_seconds is not None
    assert played.first_text_seconds <= 2.5


def test_utterances_hold_the_final_words(played: Played) -> None:
    utterances, text, is_open = [], "", False
    for event in events_of(played):
        if isinstance(event, SpeechStarted):
            assert not is_open
            text, is_open = "", True
        elif isinstance(event, FinalWords):
            text += event.text
        elif isinstance(event, UtteranceEnded):
            assert event.text == text.strip()
            utterances.append(event)
            is_open = False
        assert is_open or isinstance(event, UtteranceEnded)
    assert len(utterances) >= 2
    assert all(a.end <= b.start for a, b in pairwise(utterances))


def test_partial_text_comes_before_its_words(played: Played) -> None:
    partials = [event for event in events_of(played) if isinstance(event, Partial) and event.text]
    assert len(partials) >= 2
    assert all(event.start <= event.end <= 11 for event in partials)


@pytest.mark.parametrize(
    "policy", ["align-att", pytest.param("local-agreement", marks=pytest.mark.full)]
)
def test_final_words_never_change(play_live: PlayLive, jfk: Path, policy: str) -> None:
    """All text that is shown as final is a beginning of all text shown later."""
    samples = loaded.samples_of(jfk)[: 5 * SAMPLE_RATE]
    stream = play_live(samples, policy=policy)
    shown = ""
    for event in events_of(stream):
        if isinstance(event, FinalWords):
            shown += event.text
            assert all(word.word for word in event.words)
    assert shown == stream.text
    assert "fellow Americans" in shown


def test_memory_is_bounded(model: Implementation, network: VoiceNetwork, jfk: Path) -> None:
    live = LiveTranscriber(model, ListenOptions(min_chunk_seconds=4), network)
    speech = loaded.samples_of(jfk)[3 * SAMPLE_RATE : 8 * SAMPLE_RATE]
    for block in (np.zeros(60 * SAMPLE_RATE, np.float32), speech, speech, speech):
        live.feed(block)
        stored = live._samples.end - live._samples.start
        assert stored <= 10 * SAMPLE_RATE


def test_no_speech_is_no_text(model: Implementation, network: VoiceNetwork) -> None:
    live = LiveTranscriber(model, ListenOptions(), network)
    noise = np.random.default_rng(0).normal(0, 0.01, 4 * SAMPLE_RATE).astype(np.float32)
    broken = np.full(SAMPLE_RATE, np.nan, np.float32)
    assert live.feed(noise) + live.feed(broken) + live.finish() == []


def test_the_caller_ends_utterances(model: Implementation, jfk: Path) -> None:
    live = LiveTranscriber(model, ListenOptions(vad=None, min_chunk_seconds=10))
    assert live.finish() == []
    samples = loaded.samples_of(jfk)
    first = live.feed(samples[: 2 * SAMPLE_RATE]) + live.finish()
    assert [type(event) for event in first] == [SpeechStarted, FinalWords, UtteranceEnded]
    live.feed(samples[2 * SAMPLE_RATE : 3 * SAMPLE_RATE])
    live.drop_utterance()
    assert live.finish() == []


def test_streams_together_say_what_each_says_alone(
    model: Implementation, network: VoiceNetwork, jfk: Path
) -> None:
    samples = loaded.samples_of(jfk)
    parts: Sequence[np.ndarray] = (samples[: 3 * SAMPLE_RATE], samples[4 * SAMPLE_RATE :][:48000])
    options = ListenOptions(min_chunk_seconds=2)
    alone = []
    for part in parts:
        live = LiveTranscriber(model, options, network)
        live.add(part)
        live.end_utterance()
        (events,) = run_together(model, [live.steps()])
        alone.append(events)
    both = [LiveTranscriber(model, options, network) for _ in parts]
    for live, part in zip(both, parts, strict=True):
        live.add(part)
        live.end_utterance()
    assert run_together(model, [live.steps() for live in both]) == alone
    assert all(any(isinstance(event, FinalWords) for event in events) for events in alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "guess"}, "policy is one of auto, align-att, local-agreement, not 'guess'"),
        ({"min_chunk_seconds": 0}, "min_chunk_seconds must be from 0.1 to 10, not 0"),
        ({"language": "klingon"}, "Whisper knows no language 'klingon'"),
        ({"task": "sing"}, "task is one of transcribe, translate, not 'sing'"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        ListenOptions(**options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
