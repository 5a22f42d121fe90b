"""Streams of one model in their thread: audio is taken from all of them, and ends stay in order."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from implementations.implementation import Implementation
from maxwhisper_cli.listen.events import Event
from maxwhisper_cli.listen.options import ListenOptions
from maxwhisper_cli.listen.streams import LiveStream, LiveStreams
from maxwhisper_cli.listen.transcriber import LiveTranscriber
from maxwhisper_cli.speech.network import VoiceNetwork
from tests.support.live_clock import SAMPLE_RATE

SECONDS = 30


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_streams_are_taken_by_several_threads(
    model: Implementation, network: VoiceNetwork
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (40, SAMPLE_RATE)).astype(np.float32)
    events: list[list[Event] | Exception] = []
    with LiveStreams(model) as streams:
        opened: list[LiveStream] = []
        for _ in noise:
            live = LiveTranscriber(model, ListenOptions(), network)
            opened.append(streams.open(live, events.append))
        for first in range(0, SAMPLE_RATE, 4000):
            for stream, samples in zip(opened, noise, strict=True):
                stream.put(samples[first : first + 4000])
        for stream in opened:
            stream.end_utterance()
        wait_for(lambda: all(stream.live.seconds == 1 for stream in opened))
    assert events == []


def test_a_drop_comes_behind_the_audio_before_it(
    model: Implementation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Audio that is put in behind it is a new utterance."""
    taken: list[float] = []
    live = LiveTranscriber(model, ListenOptions(vad=None, min_chunk_seconds=10))
    drop = live.drop_utterance

    def note_and_drop() -> None:
        taken.append(live.seconds)
        drop()

    monkeypatch.setattr(live, "drop_utterance", note_and_drop)
    with LiveStreams(model) as streams:
        stream = streams.open(live, lambda _events: None)
        with stream._changed:
            stream.put(np.zeros(SAMPLE_RATE, np.float32))
            stream.drop_utterance()
            stream.put(np.zeros(2 * SAMPLE_RATE, np.float32))
        wait_for(lambda: live.seconds == 3)
    assert taken == [1]
