"""Split channels: each says what it says alone, and all become one transcript in order of time."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from implementations.errors import NonFiniteLogitsError
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.audio.reader import AudioError
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription import recording_language
from maxwhisper_cli.transcription.language_id import DetectedLanguage
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support import loaded
from tests.support.hardware import implementations
from tests.support.scripted import BEGIN, ScriptedFeatures, ScriptedImplementation, window
from tests.support.scripted_rows import RowImplementation

RATE = 16000
TOKENIZER = get_tokenizer(False)
GREEDY = TranscribeOptions(temperatures=(0.0,), beam_size=None)
SCRIPTED = TranscribeOptions(temperatures=(0.0,))
OFFSET_SECONDS = 4


def write_channels(path: Path, channels: Sequence[np.ndarray], rate: int = RATE) -> Path:
    """Writes a wav file of floats; shorter channels end in silence."""
    samples = np.zeros((max(map(len, channels)), len(channels)), np.float32)
    for index, channel in enumerate(channels):
        samples[: len(channel), index] = channel
    soundfile.write(str(path), samples, rate, subtype="FLOAT", format="WAV")
    return path


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, level, round(seconds * RATE))
    return samples.astype(np.float32)


@pytest.fixture
def call(tmp_path: Path, jfk: Path, sonnet: Path) -> Path:
    """Two people at once: one speaks for 11 s, the other for 15 s, from 4 s on."""
    silence = np.zeros(OFFSET_SECONDS * RATE, np.float32)
    other = np.concatenate([silence, loaded.samples_of(sonnet)[: 15 * RATE]])
    return write_channels(tmp_path / "call.wav", [loaded.samples_of(jfk), other])


def of_speaker(transcript: Transcript, speaker: str) -> list[Segment]:
    """The speaker's segments, as they would be alone."""
    own = [segment for segment in transcript.segments if segment.speaker == speaker]
    return [replace(segment, id=id_, speaker=None) for id_, segment in enumerate(own)]


def assert_merged(transcript: Transcript) -> None:
    segments = transcript.segments
    assert [segment.id for segment in segments] == list(range(len(segments)))
    assert [s.start for s in segments] == sorted(s.start for s in segments)
    assert transcript.text == "".join(segment.text for segment in segments)


@pytest.mark.parametrize("impl", implementations(in_full=("cpu", "hybrid")), indirect=True)
def test_each_channel_says_what_it_says_alone(call: Path, impl: str) -> None:
    """The way to the model is one for all of them."""
    model = loaded.model("tiny.en", impl)
    options = replace(GREEDY, speaker_names=("Anna", "Ben"))
    split = model.transcribe(call, options, channel="split")
    assert_merged(split)
    assert split.duration_seconds == OFFSET_SECONDS + 15
    turns = [segment.speaker for segment in split.segments]
    assert turns != sorted(turns, key=str)  # they do take turns
    for number, speaker in enumerate(("Anna", "Ben"), 1):
        alone = model.transcribe(call, GREEDY, channel=number)
        assert of_speaker(split, speaker) == list(alone.segments)
        assert len(alone.segments) > 1


def test_a_batch_says_the_same(call: Path, jfk: Path, quick_model: Model) -> None:
    """Both channels are rows of one batch, beside a file that cannot be split."""
    options = replace(GREEDY, batch_size=3)
    failed, done = sorted(
        quick_model.transcribe_several([jfk, call], options, channel="split"),
        key=lambda finished: finished.index,
    )
    assert isinstance(failed.error, AudioError)
    assert done.transcript is not None
    assert_merged(done.transcript)
    for number in (1, 2):
        alone = quick_model.transcribe(call, options, channel=number)
        assert of_speaker(done.transcript, f"channel {number}") == list(alone.segments)


def say_place(request: DecodeRequest) -> DecodedWindow:
    """A segment of 20 s, which leads to the next window; its text names the window's place."""
    at = BEGIN + 1000
    return window([BEGIN, *TOKENIZER.encode(f" {request.search.seed[1]}"), at, at])


def test_segments_come_in_order_while_they_are_decoded(tmp_path: Path) -> None:
    """The channels take turns, so that no segment waits for the end of another channel."""
    file = write_channels(tmp_path / "call.wav", [noise(90), noise(90), np.zeros(1), noise(90)])
    implementation = ScriptedImplementation(say_place)
    model = Model(implementation)
    progress: list[Progress] = []
    n_decoded: list[int] = []
    segments: list[Segment] = []
    stream = model.stream(file, SCRIPTED, on_progress=progress.append, channel="split")
    for segment in stream:
        segments.append(segment)
        n_decoded.append(len(implementation.requests))
    assert [(s.start, s.speaker) for s in segments] == [
        (start, f"channel {number}")
        for start in (0.0, 20.0, 40.0, 60.0, 80.0)
        for number in (1, 2, 4)
    ]
    assert n_decoded[:4] == [3, 4, 5, 6]
    assert_merged(model.transcribe(file, SCRIPTED, channel="split"))
    done = [each.done_seconds for each in progress]
    assert done == sorted(done)
    assert (done[0], done[-1], progress[0].total_seconds) == (0.0, 90.0, 90.0)


def test_a_silent_channel_gives_no_segments(tmp_path: Path) -> None:
    hiss = np.clip(noise(30, 1e-4), -4e-4, 4e-4)  # as quiet as coded silence
    file = write_channels(tmp_path / "call.wav", [hiss, noise(30)])
    for batch_size in (1, 2):
        options = replace(SCRIPTED, batch_size=batch_size)
        transcript = Model(ScriptedImplementation(say_place)).transcribe(
            file, options, channel="split"
        )
        assert {segment.speaker for segment in transcript.segments} == {"channel 2"}
        assert transcript.warnings == (f"{file}: channel 1 is silent",)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_nobody_speaks(tmp_path: Path, batch_size: int) -> None:
    file = write_channels(tmp_path / "call.wav", [np.zeros(RATE), np.zeros(RATE)])
    implementation = ScriptedImplementation(say_place)
    options = replace(SCRIPTED, batch_size=batch_size, language="de")
    model = Model(implementation)
    (done,) = model.transcribe_several([file], options, channel="split")
    assert done.transcript == model.transcribe(file, options, channel="split")
    assert (done.transcript.text, done.transcript.segments) == ("", ())
    assert (done.transcript.language, done.transcript.duration_seconds) == ("de", 1.0)
    assert len(done.transcript.warnings) == 2
    assert implementation.windows == []


def test_all_channels_are_in_the_surest_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is that of the second channel; the first ends early, by which it is recognised."""

    def detect(_impl: object, windows: Iterable[AudioFeatures], *_: object) -> DetectedLanguage:
        (features,) = windows
        assert isinstance(features, ScriptedFeatures)
        is_steady = features.mel.std() < 0.2  # without silence behind the noise
        return DetectedLanguage("de", 0.9) if is_steady else DetectedLanguage("en", 0.4)

    monkeypatch.setattr(recording_language, "detect_language", detect)
    implementation = ScriptedImplementation(lambda _: window([50364, 440, 50464]))
    implementation.dims = replace(implementation.dims, n_vocab=51865)
    file = write_channels(tmp_path / "call.wav", [noise(10), noise(30)])
    for batch_size in (1, 2):
        options = replace(SCRIPTED, batch_size=batch_size)
        transcript = Model(implementation).transcribe(file, options, channel="split")
        assert (transcript.language, transcript.language_probability) == ("de", 0.9)
        german = get_tokenizer(True).to_language_token("de")
        prompts = [(each.prompt, each.sot_index) for each in implementation.requests]
        assert {prompt[sot_index + 1] for prompt, sot_index in prompts} == {german}


def test_a_failed_channel_fails_the_whole_recording(tmp_path: Path) -> None:
    """Its other channel must not be decoded for nobody."""

    def script(request: DecodeRequest) -> DecodedWindow:
        is_broken = len(implementation.requests) == 1
        return replace(say_place(request), no_speech_prob=math.inf if is_broken else 0.0)

    call = write_channels(tmp_path / "call.wav", [noise(100), noise(500)])
    short = write_channels(tmp_path / "short.wav", [noise(30), noise(30)])
    implementation = RowImplementation(script)
    options = replace(SCRIPTED, batch_size=2)
    failed, done = Model(implementation).transcribe_several([call, short], options, channel="split")
    assert (failed.index, type(failed.error)) == (0, NonFiniteLogitsError)
    assert (done.index, done.error) == (1, None)
    assert len(implementation.requests) == 2 + 4  # 20 s and 10 s of both channels of the second


def test_what_cannot_be_split_is_refused(tmp_path: Path, jfk: Path) -> None:
    model = Model(ScriptedImplementation(say_place))
    with pytest.raises(AudioError, match="has 1 channel, which cannot be split: choose channel"):
        model.transcribe(jfk, SCRIPTED, channel="split")
    call = write_channels(tmp_path / "call.wav", [noise(1), noise(1)])
    named = replace(SCRIPTED, speaker_names=("Anna", "Ben", "Cem"))
    with pytest.raises(AudioError, match="has 2 channels, and the names of speakers are 3: give"):
        model.transcribe(call, named, channel="split")
    with pytest.raises(OptionsError, match="speaker_names need channel 'split'"):
        model.transcribe(call, named)
    for wrong in (["Anna", "Anna"], ["Anna", " "], ["Anna", "B\nen"], [1, 2], "Anna"):
        with pytest.raises(OptionsError, match="speaker_names must"):
            TranscribeOptions(speaker_names=wrong)  # type: ignore[arg-type]
