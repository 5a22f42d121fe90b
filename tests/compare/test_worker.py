"""Messages of a worker with a scripted model: times, repeatability, English-only models."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from implementations import registry
from implementations.errors import ImplementationUnavailableError
from implementations.mel_frames import MelFrames
from implementations.options import LoadReport
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import FloatArray
from maxwhisper_cli.compare.candidates import Candidate
from maxwhisper_cli.compare.messages import Finished, Job, Loaded, Measured, Message, Stage
from maxwhisper_cli.compare.worker import work
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support.scripted import BEGIN, ScriptedFeatures, ScriptedImplementation, window

SCRIPTED = Candidate("scripted")
WORDS = (BEGIN, 1639, 523, BEGIN + 50)


class FakeModels:
    """Stands for `maxwhisper_cli.model.load`."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.implementation = ScriptedImplementation(self._decode)
        self.n_decoded = 0
        self.varies = False
        self.report = LoadReport()

    def load(self, model: str, impl: str, **settings: Any) -> Model:
        self.settings = {"model": model, "impl": impl, **settings}
        if self.report.compiled_seconds:
            settings["on_compile"]("compiling graphs")
        self.implementation.load_report = self.report
        return Model(self.implementation, stopwatch=settings["stopwatch"])

    def _decode(self, _: DecodeRequest) -> DecodedWindow:
        self.n_decoded += 1
        extra = (50,) * (self.n_decoded if self.varies else 0)
        return window((*WORDS[:-1], *extra, WORDS[-1]))


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> FakeModels:
    fakes = FakeModels()
    monkeypatch.setattr("maxwhisper_cli.model.load", fakes.load)
    entry = replace(registry.entry("cpu"), name="scripted")
    monkeypatch.setattr(registry, "ENTRIES", (*registry.ENTRIES, entry))
    ticks = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    return fakes


def messages_of(talk: str, candidate: Candidate = SCRIPTED, **changes: Any) -> list[Message]:
    settings = {"options": TranscribeOptions(language="es"), "n_runs": 2, **changes}
    messages: list[Message] = []
    work(Job(candidate, "some-model", (talk,), **settings), messages.append)
    return messages


def measurement_in(messages: list[Message]) -> Measured:
    return next(message for message in messages if isinstance(message, Measured))


def loaded_in(messages: list[Message]) -> Loaded:
    return next(message for message in messages if isinstance(message, Loaded))


def test_each_run_is_decoded_again_after_a_warm_up(models: FakeModels, talk: str) -> None:
    measured = measurement_in(messages_of(talk)).measurement
    assert models.n_decoded == 3
    assert len(measured.run_seconds) == 2
    assert measured.n_windows == 1
    assert measured.n_passes == 1 + len(WORDS)
    assert measured.audio_seconds == 8.0
    assert measured.tokens == WORDS
    assert measured.is_repeatable
    assert [(s.start, s.end) for s in measured.segments] == [(0.0, 1.0)]


def test_the_clock_counts_timed_runs_alone(models: FakeModels, talk: str) -> None:
    measured = measurement_in(messages_of(talk)).measurement
    # Each look at the made-up clock is a second: one encoder call and one decoder call take one.
    assert models.n_decoded == 3
    assert measured.encoder_ms_per_window == 1000.0
    assert measured.ms_per_token == pytest.approx(1000 / (1 + len(WORDS)))
    assert measured.tokens_per_second == pytest.approx(1 + len(WORDS))


def test_runs_that_differ_are_marked(models: FakeModels, talk: str) -> None:
    models.varies = True
    assert not measurement_in(messages_of(talk)).measurement.is_repeatable


def test_compiling_is_apart_from_loading(models: FakeModels, talk: str) -> None:
    plain = loaded_in(messages_of(talk))
    models.report = LoadReport(compiled_seconds=0.25)
    messages = messages_of(talk)
    loaded = loaded_in(messages)
    assert plain.compile_seconds == 0.0
    assert loaded.compile_seconds == 0.25
    assert loaded.load_seconds == plain.load_seconds - 0.25
    assert [m.words for m in messages if isinstance(m, Stage)] == ["loading", "compiling graphs"]


def test_notes_of_loading_are_warnings(models: FakeModels, talk: str) -> None:
    assert loaded_in(messages_of(talk)).warnings == ()
    models.report = LoadReport(notes=("the graphs cannot be kept",))
    assert loaded_in(messages_of(talk)).warnings == ("the graphs cannot be kept",)


def test_the_encoder_is_timed_until_the_device_is_done(
    models: FakeModels, monkeypatch: pytest.MonkeyPatch, talk: str
) -> None:
    scripted, n_windows = models.implementation, []
    monkeypatch.setattr(scripted, "wait", lambda: n_windows.append(len(scripted.windows)))
    messages_of(talk, n_runs=1)
    assert n_windows == [1, 2]  # once after each run's window


def test_measures_with_the_implementation_s_own_mel_and_batches(
    models: FakeModels, monkeypatch: pytest.MonkeyPatch, talk: str
) -> None:
    """Same conditions as `transcribe`: pieces of mel as large, windows in the same batches."""
    scripted, n_samples, n_windows = models.implementation, [], []
    monkeypatch.setattr(type(scripted), "mel_frames_at_once", 16384)
    log_mel, encode = scripted.log_mel, scripted.encode

    def spy_log_mel(samples: FloatArray, filters: FloatArray) -> FloatArray | MelFrames:
        n_samples.append(len(samples))
        return log_mel(samples, filters)

    def spy_encode(mel: FloatArray) -> ScriptedFeatures:
        n_windows.append(len(mel))
        return encode(mel)

    monkeypatch.setattr(scripted, "log_mel", spy_log_mel)
    monkeypatch.setattr(scripted, "encode", spy_encode)
    messages_of(talk, options=TranscribeOptions(language="es", batch_size=4), n_runs=1)
    assert max(n_samples) > 512 * 160  # 8 s in one piece, more than the default of 5.12 s
    assert n_windows == [1, 1]  # one window, in the warm-up and in the run


def test_model_is_loaded_as_in_the_job(models: FakeModels, talk: str) -> None:
    candidate = Candidate("scripted", dtype="float16", device="cuda:1")
    messages_of(talk, candidate, n_threads=3, model_dir="somewhere")
    assert models.settings["impl"] == "scripted"
    assert models.settings["device"] == "cuda:1"
    assert models.settings["model"] == "some-model"
    assert models.settings["dtype"] == "float16"
    assert models.settings["n_threads"] == 3
    assert models.settings["model_dir"] == Path("somewhere")
    assert models.settings["offline"] is True


def test_an_english_model_hears_english(models: FakeModels, talk: str) -> None:
    assert measurement_in(messages_of(talk)).measurement.language == "en"
    assert models.settings


def test_recording_warnings_are_sent(models: FakeModels, tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(str(path), np.zeros(0, np.float32), 16000)
    measured = measurement_in(messages_of(str(path))).measurement
    assert models.n_decoded == 0
    assert measured.text == ""
    assert len(measured.warnings) == 1


def test_memory_is_sent_at_the_end(models: FakeModels, talk: str) -> None:
    last = messages_of(talk)[-1]
    assert isinstance(last, Finished)
    assert last.peak_memory_mib > 10
    assert models.settings


def test_an_implementation_that_is_unavailable_gets_through(
    monkeypatch: pytest.MonkeyPatch, talk: str
) -> None:
    def load(*_: object, **__: object) -> Model:
        raise ImplementationUnavailableError("not here")

    monkeypatch.setattr("maxwhisper_cli.model.load", load)
    with pytest.raises(ImplementationUnavailableError):
        messages_of(talk)
