"""Recordings in one batch: each says what it says alone, fails alone, and is open while it goes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from implementations.errors import ImplementationFailedError
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.audio import AudioError, AudioSource
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Transcript
from maxwhisper_cli.transcription.several import Finished
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support import loaded
from tests.support.scripted import BEGIN, Script, ScriptedFeatures, ScriptedImplementation, window

TOKENIZER = get_tokenizer(False)
OPTIONS = TranscribeOptions(temperatures=(0.0, 1.0), batch_size=3)


class Batching(ScriptedImplementation):
    """Keeps how many windows it was given at a time; the round `failing` fails."""

    def __init__(self, script: Script, failing: int | None = None) -> None:
        super().__init__(script)
        self.sizes: list[int] = []
        self._failing = failing

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        self.audio_features = audio_features
        return super().decode(audio_features, request)

    def decode_batch(
        self, audio_features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        assert len(audio_features) == len(requests)
        self.sizes.append(len(requests))
        if len(self.sizes) == self._failing:
            raise ImplementationFailedError("there is no room")
        return super().decode_batch(audio_features, requests)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> set[MelSpectrogram]:
    """The recordings that are open."""
    spectrograms: set[MelSpectrogram] = set()
    init, close = MelSpectrogram.__init__, MelSpectrogram.close

    def opening(self: MelSpectrogram, *args: object, **kwargs: object) -> None:
        spectrograms.add(self)
        init(self, *args, **kwargs)  # type: ignore[arg-type]

    def closing(self: MelSpectrogram) -> None:
        spectrograms.discard(self)
        close(self)

    monkeypatch.setattr(MelSpectrogram, "__init__", opening)
    monkeypatch.setattr(MelSpectrogram, "close", closing)
    return spectrograms


def say(request: DecodeRequest) -> DecodedWindow:
    """A segment of 20 s, which leads to the next window; its text names the window's place."""
    at = BEGIN + 1000
    return window([BEGIN, *TOKENIZER.encode(f" {request.search.seed[1]}"), at, at])


def noise(seconds: float) -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16000))
    return samples.astype(np.float32)


def texts(transcript: Transcript | None) -> list[str]:
    assert transcript is not None
    return [segment.text for segment in transcript.segments]


def test_free_rows_go_to_the_next_recordings() -> None:
    implementation = Batching(say)
    lengths = [250, 30, 70, 20, 125]  # the first one is two stretches
    recordings = [noise(seconds) for seconds in lengths]
    finished = list(Model(implementation).transcribe_several(recordings, OPTIONS))
    # Of 20 s each: 7 and 7 windows beside 2, 4 and 1 in the third row; then 7 in all three.
    assert implementation.sizes == [3] * 7 + [1] * 7
    assert [done.index for done in finished] == [1, 2, 0, 3, 4]
    for done in finished:
        alone = Model(Batching(say)).transcribe(recordings[done.index], OPTIONS)
        assert done.transcript == alone
        assert done.wall_seconds > 0


def test_a_recording_is_opened_when_there_is_a_row_for_it(opened: set[MelSpectrogram]) -> None:
    opened_indices: list[int] = []
    n_open: list[int] = []

    def recordings() -> Iterator[np.ndarray]:
        for index in range(20):
            opened_indices.append(index)
            yield noise(0 if index % 5 == 0 else 21)

    def script(request: DecodeRequest) -> DecodedWindow:
        n_open.append(len(opened))
        return say(request)

    model = Model(Batching(script))
    finished = []
    for done in model.transcribe_several(recordings(), OPTIONS):
        finished.append(done)
        assert len(opened_indices) <= len(finished) + 3
    assert len(finished) == 20
    assert max(n_open) == 3
    assert opened == set()
    assert [texts(done.transcript) for done in finished].count([]) == 4  # those without sound


def test_undecodable_recording_fails_alone(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    recordings: list[AudioSource] = [noise(30), broken, tmp_path / "gone.wav", noise(50)]
    seen: list[tuple[int, Progress]] = []
    finished = sorted(
        Model(Batching(say)).transcribe_several(
            recordings, OPTIONS, on_progress=lambda index, progress: seen.append((index, progress))
        ),
        key=lambda done: done.index,
    )
    assert [done.transcript is None for done in finished] == [False, True, True, False]
    assert [type(done.error) for done in finished[1:3]] == [AudioError, AudioError]
    assert str(broken) in str(finished[1].error)
    assert "does not exist" in str(finished[2].error)
    assert [len(texts(finished[i].transcript)) for i in (0, 3)] == [2, 3]
    assert {index for index, _ in seen} == {0, 3}
    assert [p.done_seconds for index, p in seen if index == 3] == [0, 20, 40, 50]


def test_a_round_that_fails_takes_those_in_it(opened: set[MelSpectrogram]) -> None:
    options = replace(OPTIONS, batch_size=2)
    recordings = [noise(21), noise(250), noise(10), noise(10)]
    finished = list(Model(Batching(say, failing=2)).transcribe_several(recordings, options))
    failed = {done.index: str(done.error) for done in finished if done.error is not None}
    assert failed == {0: "there is no room", 1: "there is no room"}
    assert [done.index for done in finished if done.transcript] == [2, 3]
    assert opened == set()


def test_a_window_that_fails_is_decoded_again_alone() -> None:
    temperatures: list[float] = []

    def script(request: DecodeRequest) -> DecodedWindow:
        temperatures.append(request.search.temperature)
        decoded = say(request)
        return replace(decoded, sum_logprob=-100.0) if len(temperatures) == 2 else decoded

    implementation = Batching(script)
    recordings = [noise(seconds) for seconds in (20, 19, 18)]
    finished = list(Model(implementation).transcribe_several(recordings, OPTIONS))
    assert isinstance(implementation.audio_features, ScriptedFeatures)
    np.testing.assert_array_equal(implementation.audio_features.mel, implementation.windows[0][1:2])
    assert temperatures == [0.0, 0.0, 0.0, 1.0]
    seen = {d.index: d.transcript.segments[0].temperature for d in finished if d.transcript}
    assert seen == {0: 0.0, 1: 1.0, 2: 0.0}


def test_stopping_closes_open_recordings(opened: set[MelSpectrogram]) -> None:
    class EnoughError(Exception):
        pass

    def stop(index: int, progress: Progress) -> None:
        if index == 2 and progress.done_seconds:
            raise EnoughError

    model = Model(Batching(say))
    with pytest.raises(EnoughError) as stopped:
        list(model.transcribe_several([noise(50)] * 5, OPTIONS, on_progress=stop))
    assert opened == set()
    assert stopped.traceback  # which holds on to what was not closed
    going = model.transcribe_several([noise(20), *[noise(50)] * 4], OPTIONS)
    assert next(going).index == 0
    assert len(opened) == 2
    going.close()
    assert opened == set()


def test_without_a_batch_recordings_run_in_order(tmp_path: Path) -> None:
    options = replace(OPTIONS, batch_size=1)
    recordings: list[AudioSource] = [noise(50), tmp_path / "gone.wav", noise(20)]
    seen: list[int] = []
    model = Model(Batching(say))
    finished = list(
        model.transcribe_several(recordings, options, on_progress=lambda i, _: seen.append(i))
    )
    assert [done.index for done in finished] == [0, 1, 2]
    assert isinstance(finished[1].error, AudioError)
    assert finished[0].transcript == Model(Batching(say)).transcribe(recordings[0], options)
    assert seen == [0] * 4 + [2] * 2


def test_real_speech_in_a_batch_equals_it_alone(
    impl: str, jfk: Path, sonnet: Path, spanish: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    two_windows, short = loaded.samples_of(sonnet, 33), loaded.samples_of(spanish, 7)
    recordings: list[AudioSource] = [two_windows, broken, short, jfk]
    model = loaded.model("base", impl)
    options = TranscribeOptions(beam_size=None, temperatures=(0.0,), batch_size=2)
    finished = {done.index: done for done in model.transcribe_several(recordings, options)}
    assert isinstance(finished[1].error, AudioError)
    for index in (0, 2, 3):
        assert_same(finished[index], model.transcribe(recordings[index], options))
    languages = [finished[i].transcript.language for i in (0, 2, 3)]  # type: ignore[union-attr]
    assert languages == ["en", "es", "en"]


def assert_same(finished: Finished, alone: Transcript) -> None:
    """Tokens and times alike; probabilities to the rounding of sums in another order."""
    together = finished.transcript
    assert together is not None
    assert alone.segments
    assert (together.text, together.language) == (alone.text, alone.language)
    for one, other in zip(together.segments, alone.segments, strict=True):
        assert one == replace(other, avg_logprob=one.avg_logprob, no_speech_prob=one.no_speech_prob)
        assert one.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-3)
        assert one.no_speech_prob == pytest.approx(other.no_speech_prob, abs=1e-3)
