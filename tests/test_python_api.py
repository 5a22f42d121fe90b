"""The Python API as its documentation promises it: load once, use often, from threads."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import maxwhisper_cli
from implementations import registry
from implementations.errors import ImplementationUnavailableError
from implementations.options import LoadOptions, LoadReport
from maxwhisper_cli import Model, Progress, Segment, TranscribeOptions, Transcript
from maxwhisper_cli.transcription.segments import Word
from maxwhisper_cli.transcription.stopwatch import RunningStopwatch
from tests.support import loaded
from tests.support.scripted import ScriptedImplementation, window

GREEDY = TranscribeOptions(beam_size=None)


def test_all_that_is_promised_is_there() -> None:
    for name in maxwhisper_cli.__all__:
        assert getattr(maxwhisper_cli, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = maxwhisper_cli.nonsense


def test_load_transcribe_and_stream_agree(jfk: Path) -> None:
    seen: list[Segment] = []
    progress: list[Progress] = []
    with maxwhisper_cli.load("tiny.en", offline=True) as model:
        transcript = model.transcribe(
            jfk, GREEDY, on_segment=seen.append, on_progress=progress.append
        )
        streamed = list(model.stream(jfk, GREEDY))
    assert isinstance(transcript, Transcript)
    assert "ask not what your country can do for you" in transcript.text
    assert tuple(seen) == tuple(streamed) == transcript.segments
    assert [p.done_seconds for p in progress] == [0.0, 11.0]
    assert progress[-1].total_seconds == transcript.duration_seconds == 11.0


def test_auto_continues_after_a_failed_load(monkeypatch: pytest.MonkeyPatch) -> None:
    class NotAfterAll:
        @classmethod
        def load(cls, *_: object) -> None:
            raise ImplementationUnavailableError("the driver is too old")

    real = registry.implementation_class
    classes = {"full-max": NotAfterAll}
    monkeypatch.setattr(registry, "is_compiled", lambda *_: True)
    monkeypatch.setattr(registry, "implementation_class", lambda n: classes.get(n) or real(n))
    with maxwhisper_cli.load("tiny.en", device="cpu", offline=True) as model:
        assert model.implementation.name == "cpu"
        assert model.hint is not None
        assert "the driver is too old" in model.hint


def test_importing_a_framework_has_a_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class ImportsWhileLoading:
        @classmethod
        def load(cls, *_: object) -> ScriptedImplementation:
            implementation = ScriptedImplementation(lambda _: window([]))
            implementation.load_report = LoadReport(import_seconds=1000.0)
            return implementation

    monkeypatch.setattr(registry, "implementation_class", lambda _: ImportsWhileLoading)
    stopwatch = RunningStopwatch()
    maxwhisper_cli.load("tiny.en", impl="cpu", offline=True, stopwatch=stopwatch).close()
    assert stopwatch.spent["framework"].seconds > 1000
    assert stopwatch.spent["graphs and weights"].seconds < 0  # it was no part of that


def test_default_device_is_the_best_supported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Elsewhere:
        @classmethod
        def load(cls, _: object, options: LoadOptions) -> None:
            raise ImplementationUnavailableError(f"sent to {options.device}")

    monkeypatch.setattr(registry, "implementation_class", lambda _: Elsewhere)
    monkeypatch.setattr(registry, "default_device", lambda _: "cuda")
    for device, sent_to in ((None, "cuda"), ("cuda:1", "cuda:1"), ("cpu", "cpu")):
        with pytest.raises(ImplementationUnavailableError, match=f"sent to {sent_to}$"):
            maxwhisper_cli.load("tiny.en", impl="full-max", device=device, offline=True)


def test_path_file_and_samples_give_the_same_text(jfk: Path, quick_model: Model) -> None:
    with jfk.open("rb") as file:
        texts = {quick_model.transcribe(source, GREEDY).text for source in (jfk, str(jfk), file)}
    assert texts == {quick_model.transcribe(loaded.samples_of(jfk), GREEDY).text}


def test_threads_share_a_model(jfk: Path, sonnet: Path, quick_model: Model) -> None:
    greedy = TranscribeOptions(beam_size=None, temperatures=(0.0,), sample_len=8)
    sources = [loaded.samples_of(jfk), loaded.samples_of(sonnet)[: 10 * 16000]]
    alone = [quick_model.transcribe(source, greedy).text for source in sources]
    assert alone[0] != alone[1]
    with ThreadPoolExecutor(2) as pool:
        together = list(
            pool.map(lambda source: quick_model.transcribe(source, greedy).text, sources)
        )
    assert together == alone


def test_a_callback_can_stop_a_transcription(jfk: Path, sonnet: Path, quick_model: Model) -> None:
    class EnoughError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.done_seconds:
            raise EnoughError

    with pytest.raises(EnoughError):
        quick_model.transcribe(sonnet, GREEDY, on_progress=stop)
    # The model is free again.
    assert quick_model.transcribe(jfk, GREEDY).text


def test_an_abandoned_stream_frees_the_model(jfk: Path, sonnet: Path, quick_model: Model) -> None:
    next(quick_model.stream(sonnet, GREEDY))
    assert quick_model.transcribe(jfk, GREEDY).segments


def test_closed_model_is_an_error(jfk: Path) -> None:
    with maxwhisper_cli.load("tiny.en", "cpu", offline=True) as model:
        pass
    with pytest.raises(ValueError, match="model is closed"):
        model.transcribe(jfk, GREEDY)
    with pytest.raises(ValueError, match="model is closed"):
        next(model.stream(jfk, GREEDY))
    several = TranscribeOptions(beam_size=None, batch_size=2)
    with pytest.raises(ValueError, match="model is closed"):
        next(model.transcribe_several([jfk], several))


def test_half_precision_gives_the_same_words(jfk: Path) -> None:
    with maxwhisper_cli.load("tiny.en", "cpu", dtype="bfloat16", offline=True) as model:
        assert model.implementation.dtype == "bfloat16"
        assert "ask not what your country can do" in model.transcribe(jfk, GREEDY).text


def test_transcripts_become_dicts_and_rows() -> None:
    words = (Word(" Hello", 1.0, 1.5, 0.9), Word(" you.", 1.5, 2.0, 0.8))
    segment = Segment(
        0, 0, 1.0, 2.0, " Hello you.", (1, 2), 0.0, float("nan"), 1.1, 0.1, words=words
    )
    transcript = Transcript(" Hello you.", (segment,), "en", None, 3.0)
    result = maxwhisper_cli.to_dict(transcript)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result)[:3] == ["text", "segments", "language"]
    assert result["segments"][0]["words"][1]["word"] == " you."
    (row,) = maxwhisper_cli.to_rows(transcript)
    assert (row["id"], row["start"], row["end"], row["text"]) == (0, 1.0, 2.0, " Hello you.")
    assert "words" not in row
    assert maxwhisper_cli.to_rows(transcript, by_word=True)[1] == {
        "segment": 0,
        "word": " you.",
        "start": 1.5,
        "end": 2.0,
        "probability": 0.8,
    }
    later = transcript.shifted(10.0).segments[0]
    assert later.words is not None
    assert (later.start, later.seek, later.words[1].end) == (11.0, 1000, 12.0)
