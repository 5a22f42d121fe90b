"""Every way in which a worker can end, and that no failure keeps a measurement."""

import dataclasses
from pathlib import Path

import pytest

from implementations import registry
from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli.compare.candidates import Candidate
from maxwhisper_cli.compare.messages import Advanced, Job, Loaded, Message, Stage
from maxwhisper_cli.compare.runner import Outcome, run_job
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support.loaded import model

GREEDY = TranscribeOptions(beam_size=None)


def job(model_name: str, *files: str) -> Job:
    return Job(Candidate("cpu"), model_name, files or ("talk.wav",), GREEDY, n_runs=1)


def run_scripted(model_name: str) -> tuple[Outcome, list[Message]]:
    messages: list[Message] = []
    return run_job(job(model_name), messages.append, "tests.compare.scripted_worker"), messages


def test_outcome_of_work_done() -> None:
    outcome, messages = run_scripted("works")
    assert outcome.status == "ok"
    assert outcome.reason is None
    assert [measurement.file for measurement in outcome.measurements] == ["talk.wav"]
    assert outcome.finished is not None
    assert outcome.finished.peak_memory_mib == 512.0
    assert [type(message).__name__ for message in messages] == [
        "Stage",
        "Loaded",
        "Measured",
        "Finished",
    ]


@pytest.mark.parametrize(
    ("model_name", "status", "reason"),
    [
        ("unavailable", "unavailable", "it needs what is not here"),
        ("refuses", "failed", "the recording is broken"),
        ("raises", "failed", "its process ended with exit code 1: RuntimeError: deep inside"),
        ("dies", "failed", "its process was ended by SIGKILL, perhaps for lack of memory"),
        ("leaves", "failed", "its process ended with exit code 0: it printed nothing"),
    ],
)
def test_failure_has_a_reason_and_no_times(model_name: str, status: str, reason: str) -> None:
    outcome, _ = run_scripted(model_name)
    assert outcome.status == status
    assert outcome.reason is not None
    assert outcome.reason.startswith(reason)
    assert outcome.measurements == ()
    assert outcome.loaded is None


def test_a_worker_that_cannot_start_is_a_failure() -> None:
    outcome = run_job(job("x"), lambda _: None, "tests.compare.no_such_worker")
    assert outcome.status == "failed"
    assert "no_such_worker" in str(outcome.reason)


def test_unavailable_implementation_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = dataclasses.replace(
        registry.entry("cpu"), packages=("no_such_package",), install="install it"
    )
    monkeypatch.setattr(registry, "ENTRIES", (lacking,))
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a process was started"))
    outcome = run_job(job("x"), lambda _: None)
    assert outcome == Outcome("cpu", "unavailable", "no_such_package not installed; install it")


def test_an_unknown_implementation_is_the_callers_mistake() -> None:
    with pytest.raises(ImplementationUnavailableError, match="no implementation is called"):
        run_job(dataclasses.replace(job("x"), candidate=Candidate("tpu")), lambda _: None)


def test_a_worker_ends_with_whoever_stops_listening(tmp_path: Path) -> None:
    trace = tmp_path / "went on"

    def stop(_: Message) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job("goes on", str(trace)), stop, "tests.compare.scripted_worker")
    assert not trace.exists()


def test_real_speech_gives_the_tokens_that_the_model_gives_here(jfk: Path) -> None:
    messages: list[Message] = []
    outcome = run_job(job("tiny.en", str(jfk)), messages.append)
    assert outcome.reason is None
    expected = model("tiny.en", "cpu").transcribe(jfk, GREEDY)
    (measurement,) = outcome.measurements
    assert measurement.text == expected.text.strip()
    assert measurement.tokens == tuple(t for s in expected.segments for t in s.tokens)
    assert measurement.is_repeatable
    assert len(measurement.run_seconds) == 1
    assert measurement.n_windows == 1
    assert measurement.n_passes >= len(measurement.tokens)
    inside = measurement.n_windows * measurement.encoder_ms_per_window
    inside += measurement.n_passes * measurement.ms_per_token
    assert 0 < inside / 1000 < measurement.run_seconds[0]
    assert outcome.finished is not None
    assert outcome.finished.peak_memory_mib > 100
    assert outcome.finished.gpu_memory_mib is None
    assert isinstance(messages[0], Stage)
    loaded = next(message for message in messages if isinstance(message, Loaded))
    assert (loaded.device, loaded.dtype, loaded.compile_seconds) == ("cpu", "float32", 0.0)
    assert {m.run for m in messages if isinstance(m, Advanced)} == {0, 1}
