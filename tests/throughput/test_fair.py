"""A fair scheduler: short recordings do not wait for long ones; runs come and go meanwhile."""

import numpy as np
import pytest

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.throughput.scheduler import Scheduler
from maxwhisper_cli.transcription.longform import TranscriptionRun
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support.scripted import BEGIN, window
from tests.support.scripted_rows import RowImplementation
from weights.errors import MaxWhisperError

TOKENIZER = get_tokenizer(False)
OPTIONS = TranscribeOptions(temperatures=(0.0,))
N_LONG = 4
LONG_SECONDS = 100


def say(request: DecodeRequest) -> DecodedWindow:
    """A segment of 20 s, which leads to the next window; its text names the window's place."""
    at = BEGIN + 1000
    return window([BEGIN, *TOKENIZER.encode(f" {request.search.seed[1]}"), at, at])


def new_run(implementation: RowImplementation, seconds: float) -> TranscriptionRun:
    samples = np.zeros(round(seconds * 16000), np.float32)
    return TranscriptionRun(implementation, MelSpectrogram([samples], 80), OPTIONS)


def windows_until_done(*, is_fair: bool) -> dict[str, int]:
    """Windows of the long recordings that are done when each recording ends."""
    implementation = RowImplementation(say)
    runs = {f"long {i}": new_run(implementation, LONG_SECONDS) for i in range(N_LONG)}
    ended: dict[str, int] = {}
    n_done = 0
    with Scheduler(implementation, 2, is_fair=is_fair) as scheduler:
        for run in runs.values():
            scheduler.add(run)
        while not scheduler.is_idle:
            for decoded, _ in scheduler.decode():
                name = next(name for name, each in runs.items() if each is decoded)
                n_done += name != "short"
                if decoded.is_done:
                    ended[name] = n_done
            if n_done >= 4 and "short" not in runs:
                runs["short"] = new_run(implementation, 10)
                scheduler.add(runs["short"])
    for name, run in runs.items():
        alone = new_run(implementation, 10 if name == "short" else LONG_SECONDS)
        with Scheduler(implementation, 1) as scheduler:
            scheduler.add(alone)
            while scheduler.decode():
                pass
        assert run.transcript == alone.transcript
    return ended


def test_a_short_recording_does_not_wait_for_long_ones() -> None:
    fair, in_order = windows_until_done(is_fair=True), windows_until_done(is_fair=False)
    assert fair["short"] <= 4 + 2 * N_LONG
    assert in_order["short"] > 10
    long_ends = [fair[f"long {i}"] for i in range(N_LONG)]
    assert max(long_ends) - min(long_ends) <= 2 * N_LONG, "long ones advance together"


def test_a_run_that_is_dropped_is_forgotten() -> None:
    implementation = RowImplementation(say)
    kept, dropped = new_run(implementation, 100), new_run(implementation, 100)
    with Scheduler(implementation, 2, is_fair=True) as scheduler:
        scheduler.add(kept)
        scheduler.add(dropped)
        assert scheduler.decode()
        scheduler.drop(dropped)
        n_before = len(dropped.transcript.segments)
        while outcomes := scheduler.decode():
            assert {run for run, _ in outcomes} == {kept}
        assert scheduler.is_idle
    assert kept.is_done
    assert len(dropped.transcript.segments) == n_before


@pytest.mark.usefixtures("half_minutes_are_unreadable")
def test_a_device_that_fails_without_a_window_fails_nobody() -> None:
    """The only window cannot be read, so that the row is empty as the device fails."""
    implementation = RowImplementation(say)
    implementation.failing = {1}
    unreadable, other = new_run(implementation, 30), new_run(implementation, 25)
    errors = []
    with Scheduler(implementation, 1) as scheduler:
        scheduler.add(unreadable)
        scheduler.add(other)
        while outcomes := scheduler.decode():
            errors += [str(done) for _, done in outcomes if isinstance(done, MaxWhisperError)]
    assert errors == ["the disk is gone"]
    assert other.is_done
