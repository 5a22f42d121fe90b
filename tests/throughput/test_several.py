"""Recordings in one batch: each says what it says alone, fails alone, and is open while it goes."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from implementations.errors import NonFiniteLogitsError
from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.audio.reader import Audio, AudioError, AudioSource, open_audio
from maxwhisper_cli.model import Model
from maxwhisper_cli.throughput.rows import count_rows
from maxwhisper_cli.throughput.several import Finished
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support import loaded
from tests.support.hardware import implementations
from tests.support.scripted import BEGIN, ScriptedImplementation, window
from tests.support.scripted_rows import RowImplementation

TOKENIZER = get_tokenizer(False)
OPTIONS = TranscribeOptions(temperatures=(0.0, 1.0), batch_size="auto")
"""Three rows; recordings stay whole where there are several."""


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


@cache
def noise(seconds: float) -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16000))
    return samples.astype(np.float32)


def texts(transcript: Transcript | None) -> list[str]:
    assert transcript is not None
    return [segment.text for segment in transcript.segments]


def test_free_rows_go_to_the_next_recordings() -> None:
    implementation = RowImplementation(say)
    lengths = [250, 30, 70, 20, 125]
    recordings = [noise(seconds) for seconds in lengths]
    options = replace(OPTIONS, batch_size=3)
    finished = list(Model(implementation).transcribe_several(recordings, options))
    # Parts of at most 30 s, each of up to two windows, all of which take equally long.
    assert implementation.widths[:9] == [3] * 9
    assert {done.index for done in finished} == set(range(5))
    for done in finished:
        alone = Model(RowImplementation(say)).transcribe(recordings[done.index], options)
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

    model = Model(RowImplementation(script))
    finished = []
    for done in model.transcribe_several(recordings(), OPTIONS):
        finished.append(done)
        assert len(opened_indices) <= len(finished) + 4
    assert len(finished) == 20
    assert max(n_open) == 4  # three rows, and one window that waits for one
    assert opened == set()
    assert [texts(done.transcript) for done in finished].count([]) == 4  # those without sound


def test_undecodable_recording_fails_alone(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    recordings: list[AudioSource] = [noise(30), broken, tmp_path / "gone.wav", noise(50)]
    seen: list[tuple[int, Progress]] = []
    finished = sorted(
        Model(RowImplementation(say)).transcribe_several(
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


def test_too_many_rows_for_the_memory_are_halved() -> None:
    implementation = RowImplementation(say)
    implementation.max_rows = 5
    recordings = [noise(30 + index % 3) for index in range(16)]
    warnings: list[str] = []
    model = Model(implementation)
    options = replace(OPTIONS, batch_size=16)
    finished = list(model.transcribe_several(recordings, options, on_warning=warnings.append))
    assert warnings == [
        "going on with 8 rows, since more failed: there is no room",
        "going on with 4 rows, since more failed: there is no room",
    ]
    assert max(implementation.widths) == 4
    assert_all_as_alone(finished, recordings, options)
    assert all(decoder.is_closed for decoder in implementation.decoders)


def test_rows_that_a_device_loses_are_decoded_again() -> None:
    implementation = RowImplementation(say)
    implementation.failing = {2, 3}
    recordings = [noise(50)] * 6
    warnings: list[str] = []
    model = Model(implementation)
    options = replace(OPTIONS, batch_size=4)
    finished = list(model.transcribe_several(recordings, options, on_warning=warnings.append))
    assert len(warnings) == 2
    assert implementation.widths[-1] == 1
    assert_all_as_alone(finished, recordings, options)


def test_one_row_that_fails_fails_its_recording(opened: set[MelSpectrogram]) -> None:
    implementation = RowImplementation(say)
    implementation.failing = {1, 2, 4}
    recordings = [noise(21), noise(10), noise(15)]
    options = replace(OPTIONS, batch_size=2)
    finished = sorted(
        Model(implementation).transcribe_several(recordings, options), key=lambda done: done.index
    )
    errors = [str(done.error) for done in finished]
    assert errors == ["the device failed", "None", "the device failed"]
    assert opened == set()


def test_broken_logits_fail_their_own_recording(opened: set[MelSpectrogram]) -> None:
    def script(request: DecodeRequest) -> DecodedWindow:
        is_broken = request.search.seed[1] == 2000 and len(implementation.requests) % 2
        return replace(say(request), no_speech_prob=math.inf if is_broken else 0.0)

    implementation = RowImplementation(script)
    recordings = [noise(20), noise(50), noise(30), noise(15)]
    finished = {d.index: d for d in Model(implementation).transcribe_several(recordings, OPTIONS)}
    broken = [index for index, done in finished.items() if done.error is not None]
    assert broken in ([1], [2], [1, 2], [2, 1])
    assert all(isinstance(finished[index].error, NonFiniteLogitsError) for index in broken)
    assert texts(finished[0].transcript) == texts(finished[3].transcript) == [" 0"]
    assert opened == set()


@pytest.mark.usefixtures("half_minutes_are_unreadable")
def test_an_unreadable_spectrogram_fails_its_own_recording() -> None:
    recordings = [noise(50), noise(30), noise(25)]
    finished = Model(RowImplementation(say)).transcribe_several(recordings, OPTIONS)
    errors = {done.index: str(done.error) for done in finished}
    assert errors == {0: "None", 1: "the disk is gone", 2: "None"}


def assert_all_as_alone(
    finished: list[Finished], recordings: list[np.ndarray], options: TranscribeOptions
) -> None:
    assert len(finished) == len(recordings)
    for done in finished:
        alone = Model(RowImplementation(say)).transcribe(recordings[done.index], options)
        assert done.transcript == alone


def test_several_are_whole_with_auto_and_one_is_cut() -> None:
    model = Model(RowImplementation(say))
    recordings = [noise(250), noise(50)]
    options = replace(OPTIONS, batch_size="auto")
    assert count_rows(model.implementation, options) == 3
    in_turn = [model.transcribe(each, replace(OPTIONS, batch_size=1)) for each in recordings]
    finished = {d.index: d.transcript for d in model.transcribe_several(recordings, options)}
    assert [finished[index] for index in range(2)] == in_turn
    cut = model.transcribe(recordings[0], options)
    assert len(cut.cut_seconds) >= 8
    assert cut == model.transcribe(recordings[0], replace(OPTIONS, batch_size=2))


def test_auto_is_one_row_where_more_save_nothing() -> None:
    model = Model(ScriptedImplementation(say))
    options = replace(OPTIONS, batch_size="auto")
    (done,) = model.transcribe_several([noise(250)], options)
    assert done.transcript == model.transcribe(noise(250), options)
    assert done.transcript.cut_seconds == ()


def test_segments_come_as_they_are_decoded() -> None:
    seen: list[tuple[int, Segment]] = []
    recordings = [noise(50), noise(30), noise(70)]
    model = Model(RowImplementation(say))
    n_seen: list[int] = []
    finished = {}
    for done in model.transcribe_several(
        recordings, OPTIONS, on_segment=lambda index, segment: seen.append((index, segment))
    ):
        finished[done.index] = done.transcript
        n_seen.append(len(seen))
    assert n_seen[0] > 2  # others have begun before the first one ends
    for index, transcript in finished.items():
        assert transcript is not None
        assert [segment for i, segment in seen if i == index] == list(transcript.segments)


def test_stopping_closes_open_recordings(opened: set[MelSpectrogram]) -> None:
    class EnoughError(Exception):
        pass

    def stop(index: int, progress: Progress) -> None:
        if index == 2 and progress.done_seconds:
            raise EnoughError

    model = Model(RowImplementation(say))
    with pytest.raises(EnoughError) as stopped:
        list(model.transcribe_several([noise(50)] * 5, OPTIONS, on_progress=stop))
    assert opened == set()
    assert stopped.traceback  # which holds on to what was not closed
    going = model.transcribe_several([noise(20), *[noise(50)] * 4], OPTIONS)
    assert next(going).index == 0
    assert len(opened) == 3
    going.close()
    assert opened == set()


def test_without_a_batch_recordings_run_in_order(tmp_path: Path) -> None:
    options = replace(OPTIONS, batch_size=1)
    recordings: list[AudioSource] = [noise(50), tmp_path / "gone.wav", noise(20)]
    seen: list[int] = []
    model = Model(RowImplementation(say))
    finished = list(
        model.transcribe_several(recordings, options, on_progress=lambda i, _: seen.append(i))
    )
    assert [done.index for done in finished] == [0, 1, 2]
    assert isinstance(finished[1].error, AudioError)
    assert finished[0].transcript == Model(RowImplementation(say)).transcribe(
        recordings[0], options
    )
    assert seen == [0] * 4 + [2] * 2


@pytest.mark.parametrize("impl", implementations(in_full=("cpu", "hybrid")), indirect=True)
def test_real_speech_in_a_batch_equals_it_alone(
    impl: str, sonnet: Path, spanish: Path, tmp_path: Path
) -> None:
    """Recordings of several languages; test_row_independence.py has longer ones in English."""
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    english, short = loaded.samples_of(sonnet, 8), loaded.samples_of(spanish, 7)
    recordings: list[AudioSource] = [english, broken, short]
    model = loaded.model("base", impl)
    options = TranscribeOptions(beam_size=None, temperatures=(0.0,), batch_size=2)
    finished = {done.index: done for done in model.transcribe_several(recordings, options)}
    assert isinstance(finished[1].error, AudioError)
    for index in (0, 2):
        assert_same(finished[index], model.transcribe(recordings[index], options))
    languages = [finished[i].transcript.language for i in (0, 2)]  # type: ignore[union-attr]
    assert languages == ["en", "es"]


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


@pytest.mark.parametrize("n_threads", [0, 1, 3])
def test_readers_use_the_threads_that_the_user_allows(
    n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Audio] = []

    def opening(audio: AudioSource) -> Audio:
        opened.append(open_audio(audio))
        return opened[-1]

    monkeypatch.setattr("maxwhisper_cli.recording.open_audio", opening)
    model = Model(ScriptedImplementation(say))
    model.n_reading_threads = n_threads
    model.transcribe(noise(1.0), OPTIONS)
    assert [audio.n_threads for audio in opened] == [n_threads]
