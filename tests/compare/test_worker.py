"""What a worker says of a scripted model: times apart, repeats compared, English models obeyed."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from implementations.decoding.request import DecodedWindow, DecodeRequest
from implementations.errors import ImplementationUnavailableError, NotKeptWarning
from maxwhisper_cli.compare.candidates import Candidate
from maxwhisper_cli.compare.messages import Finished, Job, Loaded, Measured, Message, Stage
from maxwhisper_cli.compare.timed import TimedImplementation
from maxwhisper_cli.compare.worker import work
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support.scripted import BEGIN, TINY_EN, ScriptedImplementation, window

SCRIPTED = Candidate("scripted")
WORDS = (BEGIN, 1639, 523, BEGIN + 50)


class FakeModels:
    """Stands for `maxwhisper_cli.model.load`."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.n_decoded = 0
        self.varies = False
        self.compile_words: tuple[str, ...] = ()
        self.warning: Warning | None = None

    def load(self, model: str, impl: str, **asked: Any) -> Model:
        self.asked = {"model": model, "impl": impl, **asked}
        for words in self.compile_words:
            asked["on_compile"](words)
        if self.warning is not None:
            warnings.warn(self.warning, stacklevel=2)
        return Model(ScriptedImplementation(self._decode))

    def _decode(self, _: DecodeRequest) -> DecodedWindow:
        self.n_decoded += 1
        extra = (50,) * (self.n_decoded if self.varies else 0)
        return window((*WORDS[:-1], *extra, WORDS[-1]))


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> FakeModels:
    fakes = FakeModels()
    monkeypatch.setattr("maxwhisper_cli.model.load", fakes.load)
    ticks = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    return fakes


def said(talk: str, candidate: Candidate = SCRIPTED, **changes: Any) -> list[Message]:
    asked = {"options": TranscribeOptions(language="es"), "n_runs": 2, **changes}
    messages: list[Message] = []
    work(Job(candidate, "some-model", (talk,), **asked), messages.append)
    return messages


def measurement_in(messages: list[Message]) -> Measured:
    return next(message for message in messages if isinstance(message, Measured))


def loaded_in(messages: list[Message]) -> Loaded:
    return next(message for message in messages if isinstance(message, Loaded))


def test_each_run_is_decoded_anew_after_a_warm_up(models: FakeModels, talk: str) -> None:
    measured = measurement_in(said(talk)).measurement
    assert models.n_decoded == 3
    assert len(measured.run_seconds) == 2
    assert measured.n_windows == 1
    assert measured.n_passes == 1 + len(WORDS)
    assert measured.audio_seconds == 8.0
    assert measured.tokens == WORDS
    assert measured.is_repeatable
    assert [(s.start, s.end) for s in measured.segments] == [(0.0, 1.0)]


def test_the_clock_counts_timed_runs_alone(models: FakeModels, talk: str) -> None:
    measured = measurement_in(said(talk)).measurement
    # Each look at the made-up clock is a second: one encoder call and one decoder call take one.
    assert models.n_decoded == 3
    assert measured.encoder_ms_per_window == 1000.0
    assert measured.ms_per_token == pytest.approx(1000 / (1 + len(WORDS)))
    assert measured.tokens_per_second == pytest.approx(1 + len(WORDS))


def test_runs_that_differ_are_told(models: FakeModels, talk: str) -> None:
    models.varies = True
    assert not measurement_in(said(talk)).measurement.is_repeatable


def test_compiling_is_apart_from_loading(models: FakeModels, talk: str) -> None:
    plain = loaded_in(said(talk))
    models.compile_words = ("compiling graphs", "compiled")
    messages = said(talk)
    loaded = loaded_in(messages)
    assert plain.compile_seconds == 0.0
    assert loaded.compile_seconds == 1.0
    assert loaded.load_seconds == plain.load_seconds + 1.0  # the two looks at the clock
    assert [m.words for m in messages if isinstance(m, Stage)] == [
        "loading",
        "compiling graphs",
        "compiled",
    ]


def test_our_own_warnings_are_told(models: FakeModels, talk: str) -> None:
    assert loaded_in(said(talk)).warnings == ()
    models.warning = NotKeptWarning("the graphs cannot be kept")
    assert loaded_in(said(talk)).warnings == ("the graphs cannot be kept",)


def test_the_encoder_is_timed_until_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted, waited = ScriptedImplementation(lambda _: window(WORDS)), []
    monkeypatch.setattr(scripted, "wait", lambda: waited.append(len(scripted.windows)))
    TimedImplementation(scripted).encode(np.ones((1, 80, 3000), np.float32))
    assert waited == [1]


def test_the_model_is_asked_for_as_the_job_says(models: FakeModels, talk: str) -> None:
    candidate = Candidate("scripted", dtype="float16", device="cuda:1")
    said(talk, candidate, n_threads=3, model_dir="somewhere")
    assert models.asked["impl"] == "scripted"
    assert models.asked["device"] == "cuda:1"
    assert models.asked["model"] == "some-model"
    assert models.asked["dtype"] == "float16"
    assert models.asked["n_threads"] == 3
    assert models.asked["model_dir"] == Path("somewhere")
    assert models.asked["offline"] is True


def test_an_english_model_hears_english(models: FakeModels, talk: str) -> None:
    assert measurement_in(said(talk)).measurement.language == "en"
    assert models.asked


def test_an_odd_recording_is_told(models: FakeModels, tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(str(path), np.zeros(0, np.float32), 16000)
    measured = measurement_in(said(str(path))).measurement
    assert models.n_decoded == 0
    assert measured.text == ""
    assert len(measured.warnings) == 1


def test_memory_is_told_at_the_end(models: FakeModels, talk: str) -> None:
    last = said(talk)[-1]
    assert isinstance(last, Finished)
    assert last.peak_memory_mib > 10
    assert models.asked


def test_an_implementation_that_is_unavailable_gets_through(
    monkeypatch: pytest.MonkeyPatch, talk: str
) -> None:
    def load(*_: object, **__: object) -> Model:
        raise ImplementationUnavailableError("not here")

    monkeypatch.setattr("maxwhisper_cli.model.load", load)
    with pytest.raises(ImplementationUnavailableError):
        said(talk)


def test_timing_hands_everything_on(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted, closed = ScriptedImplementation(lambda _: window(WORDS)), []
    monkeypatch.setattr(scripted, "close", lambda: closed.append(True))
    timed = TimedImplementation(scripted)
    mel = np.ones((2, 80, 3000), np.float32)
    features = timed.encode(mel)
    assert scripted.windows == [mel]
    assert len(features) == 2
    assert (timed.dims, timed.device, timed.dtype) == (TINY_EN, "cpu", "float32")
    assert timed.clock.n_windows == 2
    with pytest.raises(NotImplementedError):  # as the scripted one does
        timed.start(features, 1)
    timed.close()
    assert closed == [True]
