"""Windows decoded together: where they are cut, what each is shown, which are decoded again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.speakers import start_run
from maxwhisper_cli.transcription.stopwatch import STOPPED, RunningStopwatch, Spent, Stopwatch
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support import loaded
from tests.support.scripted import BEGIN, Script, ScriptedImplementation, window

TOKENIZER = get_tokenizer(False)
OPTIONS = TranscribeOptions(temperatures=(0.0, 1.0), batch_size=2)


class Batching(ScriptedImplementation):
    """Keeps how many windows it was given at a time."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.sizes: list[int] = []

    def decode_batch(
        self, audio_features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        self.sizes.append(len(requests))
        assert len(audio_features) == len(requests)
        return super().decode_batch(audio_features, requests)


def say(text: str) -> DecodedWindow:
    """A segment of 20 s, which leads to the next window."""
    at = BEGIN + 1000
    return window([BEGIN, *TOKENIZER.encode(text), at, at])


def run(
    script: Script, options: TranscribeOptions = OPTIONS, stopwatch: Stopwatch = STOPPED
) -> tuple[Transcript, Batching]:
    implementation = Batching(script)
    noise = np.random.default_rng(0).normal(0, 0.1, 250 * 16000).astype(np.float32)
    with MelSpectrogram([noise], 80) as mel:
        transcription = start_run(implementation, mel, options, stopwatch)
        for _ in transcription.parts():
            pass
        return transcription.transcript, implementation


def test_shards_run_together_without_previous_text() -> None:
    transcript, implementation = run(lambda _request: say(" So."))
    # 250 s are two stretches of 125 s: six windows that lead 20 s on, and one that is the rest.
    assert implementation.sizes == [2] * 7
    starts = [s.start for s in transcript.segments]
    assert starts == [*range(0, 125, 20), *range(125, 250, 20)]
    assert [s.id for s in transcript.segments] == list(range(14))
    assert transcript.text == " So." * 14
    assert {request.prompt for request in implementation.requests} == {TOKENIZER.sot_sequence}


def test_no_shard_is_shorter_than_two_minutes() -> None:
    _, implementation = run(lambda _request: say(" So."), replace(OPTIONS, batch_size=64))
    assert max(implementation.sizes) == 2


def test_a_window_that_fails_is_decoded_again_alone() -> None:
    seen: list[float] = []

    def script(request: DecodeRequest) -> DecodedWindow:
        seen.append(request.search.temperature)
        failed = len(seen) == 2  # the second stretch's first window
        return replace(say(" So."), sum_logprob=-100.0) if failed else say(" So.")

    transcript, _ = run(script)
    assert seen == [0.0, 0.0, 1.0, *[0.0] * 12]
    assert [s.temperature for s in transcript.segments] == [*[0] * 7, 1, *[0] * 6]


def test_silence_is_left_out() -> None:
    silent = window([BEGIN, 40], avg_logprob=-2.0, no_speech_prob=0.9)
    transcript, _ = run(lambda _request: silent)
    assert transcript.segments == ()


def test_times_within_the_decoder_are_added_up_over_the_windows() -> None:
    watch = RunningStopwatch()
    timed = replace(say(" So."), prompt_seconds=3.0, steps_seconds=20.0, n_steps=10)
    run(lambda _request: timed, stopwatch=watch)
    assert watch.spent["decoder: prompts"] == Spent(3.0 * 14, 14)
    assert watch.spent["decoder: steps"] == Spent(20.0 * 14, 10 * 14)
    assert watch.spent["decoder: all else"].n_times == 7


def test_one_shard_equals_the_sequential_run(sonnet: Path) -> None:
    model = loaded.model("tiny.en", "cpu")
    options = TranscribeOptions(
        beam_size=None, temperatures=(0.0,), condition_on_previous_text=False
    )
    alone = model.transcribe(loaded.samples_of(sonnet), options)
    together = model.transcribe(loaded.samples_of(sonnet), replace(options, batch_size=8))
    assert together == alone


@pytest.mark.parametrize("batch_size", [0, 1025])
def test_sizes_that_make_no_sense_are_refused(batch_size: int) -> None:
    with pytest.raises(OptionsError, match="batch_size must be from 1 to 1024"):
        TranscribeOptions(batch_size=batch_size)
