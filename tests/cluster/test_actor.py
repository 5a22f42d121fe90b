"""An actor in this process: it asks for units in time, keeps rows full, tells of failures."""

import itertools
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from implementations.errors import ImplementationUnavailableError
from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.cluster.actor import Event, Ready, Refused, Transcriber, Wants
from maxwhisper_cli.cluster.plan import Unit, plan_units
from maxwhisper_cli.cluster.unit_feed import UnitFeed
from maxwhisper_cli.cluster.worker import FinishedUnit, UnitWorker
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import RunningStopwatch
from tests.support.scripted import BEGIN, window
from tests.support.scripted_rows import RowImplementation

OPTIONS = TranscribeOptions(temperatures=(0.0,), batch_size="auto")


def say(_: DecodeRequest) -> DecodedWindow:
    return window([BEGIN, 1000, BEGIN + 50, BEGIN + 50])


def worker(implementation: RowImplementation) -> UnitWorker:
    watch = RunningStopwatch()
    model = Model(implementation, "tiny.en", stopwatch=watch)
    return UnitWorker(model, OPTIONS, {}, Remote(), tries_again=False, stopwatch=watch)


@pytest.fixture
def units(tmp_path: Path) -> list[Unit]:
    """Eight units of two recordings, which fill three rows only together."""
    inputs = []
    for i in range(16):
        path = tmp_path / f"{i}.wav"
        noise = np.random.default_rng(i).normal(0, 0.1, 16000)
        soundfile.write(path, noise.astype(np.float32), 16000)
        inputs.append(Input(str(path), duration_seconds=149.0))
    planned = plan_units(inputs)
    assert [len(unit.entries) for unit in planned] == [2] * 8
    return planned


def events_of(actor: Transcriber, units: list[Unit]) -> Iterator[Event]:
    """Gives a unit whenever the actor wants one, until all are done."""
    left, n_done = list(units), 0
    while n_done < len(units):
        for event in actor.events():
            if isinstance(event, Ready | Wants) and left:
                actor.add(left.pop(0))
            n_done += isinstance(event, FinishedUnit)
            yield event
            if isinstance(event, Refused):
                return


@pytest.mark.parametrize("n_rows", [1, 3])
def test_units_come_before_the_rows_are_empty(units: list[Unit], n_rows: int) -> None:
    implementation = RowImplementation(say)
    implementation.rows_of_auto = n_rows
    actor = Transcriber()
    actor.begin(partial(worker, implementation), [])
    events = list(events_of(actor, units))
    assert isinstance(events[0], Ready)
    done = [event for event in events if isinstance(event, FinishedUnit)]
    assert sorted(each.unit.number for each in done) == list(range(8))
    assert [len(each.records) for each in done] == [2] * 8
    assert all("text" in record for each in done for record in each.records)
    for each in done:
        assert each.reading_seconds is not None
        assert 0 <= each.reading_seconds <= each.wall_seconds
    if n_rows == 3:  # a unit alone would fill two
        assert implementation.widths.count(3) >= 3


def test_a_unit_is_asked_for_once_and_waited_for() -> None:
    calls: list[int] = []
    numbers = itertools.count()
    (unit,) = plan_units([Input(f"{name}.wav", duration_seconds=9.0) for name in "ab"])
    feed: UnitFeed[str] = UnitFeed(
        lambda entry: entry.input.source, 1, lambda: calls.append(next(numbers))
    )
    feed.add(unit)
    assert feed.take() == "a.wav"
    assert calls == []
    assert feed.take() == "b.wav"
    assert feed.take() is None  # two are being worked on
    assert calls == [0]
    feed.end()
    assert feed.is_over
    assert feed.take() is None


def refuse() -> UnitWorker:
    raise ImplementationUnavailableError("there is no GPU")


def fail() -> UnitWorker:
    raise ZeroDivisionError("a fault of ours")


@pytest.mark.parametrize(
    ("make", "reason"),
    [(refuse, "there is no GPU"), (fail, "ZeroDivisionError: a fault of ours")],
)
def test_a_model_that_cannot_load_is_an_event(make: "partial[UnitWorker]", reason: str) -> None:
    actor = Transcriber()
    actor.begin(make, [])
    assert actor.events() == [Refused(reason)]


def test_files_are_there_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    there = tmp_path / "cache" / "models" / "there.pt"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"old")
    actor = Transcriber()

    def compile_and_load() -> UnitWorker:
        assert (tmp_path / "cache" / "models" / "new.pt").read_bytes() == b"weights"
        compiled = tmp_path / "cache" / "compiled"
        compiled.mkdir()
        time.sleep(0.01)
        (compiled / "0a.json").write_bytes(b"{}")
        (compiled / "0a.mef").write_bytes(b"graphs")
        return worker(RowImplementation(say))

    places = [("models", "new.pt"), ("models", "there.pt")]
    actor.begin(compile_and_load, places, np.frombuffer(b"weights", np.uint8), b"other")
    ready = actor.events()[0]
    assert isinstance(ready, Ready)
    assert there.read_bytes() == b"old"
    sent = [(file.name, bytes(file.data)) for file in ready.artifacts]
    assert sent == [("0a.mef", b"graphs"), ("0a.json", b"{}")]
