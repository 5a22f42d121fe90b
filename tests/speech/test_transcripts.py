"""Transcripts with voice activity detection: none of what is not speech, right times after it."""

import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.model import Model
from maxwhisper_cli.speech.activity import VoiceActivity
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.transcription.options import TranscribeOptions, VadOptions
from maxwhisper_cli.transcription.segments import Segment
from tests.support.loaded import model, samples_of
from tests.support.speechless import SPEECHLESS, silence

OPTIONS = TranscribeOptions(beam_size=None, temperatures=(0.0,), vad=VadOptions())
MAX_ERROR_SECONDS = 0.2
SECONDS, FULL_SECONDS = 60, 600

every_kind = pytest.mark.parametrize("make", SPEECHLESS.values(), ids=SPEECHLESS.keys())


@every_kind
def test_no_speech_is_found_where_nobody_speaks(
    network: VoiceNetwork, make: Callable[[float], np.ndarray]
) -> None:
    activity = VoiceActivity(network, VadOptions())
    activity.add(make(SECONDS))
    assert activity.clips() == ()


@pytest.mark.full
@pytest.mark.max
@every_kind
@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_not_a_word_of_ten_minutes_without_speech(
    name: str, make: Callable[[float], np.ndarray]
) -> None:
    transcript = model(name, "full-max").transcribe(
        make(FULL_SECONDS), TranscribeOptions(vad=VadOptions())
    )
    assert (transcript.text, transcript.segments) == ("", ())
    assert transcript.duration_seconds == FULL_SECONDS


@pytest.mark.parametrize("batch_size", [1, 4])
def test_times_after_a_minute_of_silence(jfk: Path, quick_model: Model, batch_size: int) -> None:
    """Words behind it are where they are in the speech alone, with and without detection."""
    speech = samples_of(jfk)
    both = np.concatenate([speech, silence(60), speech])
    words = replace(OPTIONS, word_timestamps=True, hallucination_silence_threshold=2.0)
    alone = quick_model.transcribe(speech, replace(words, vad=None))
    found = quick_model.transcribe(both, replace(words, batch_size=batch_size))
    assert found.speech_seconds == pytest.approx(22, abs=1.5)
    expected = timed_words(alone.segments)
    actual = timed_words(found.segments)
    assert len(actual) == 2 * len(expected)
    for start, part in ((0, actual[: len(expected)]), (71, actual[len(expected) :])):
        assert [letters for _, letters in part] == [letters for _, letters in expected]
        errors = [abs(a - start - b) for (a, _), (b, _) in zip(part, expected, strict=True)]
        assert max(errors) < MAX_ERROR_SECONDS


def timed_words(segments: Iterable[Segment]) -> list[tuple[float, str]]:
    """Returns start and letters of each word."""
    return [
        (word.start, "".join(filter(str.isalpha, word.word.lower())))
        for segment in segments
        for word in segment.words or ()
    ]


def test_a_recording_of_speech_is_decoded_as_without(sonnet: Path, quick_model: Model) -> None:
    samples = samples_of(sonnet, 33)  # two windows
    plain = TranscribeOptions(beam_size=None, temperatures=(0.0,))
    with_detection = quick_model.transcribe(samples, OPTIONS)
    assert with_detection.segments == quick_model.transcribe(samples, plain).segments
    assert with_detection.speech_seconds == pytest.approx(with_detection.duration_seconds, abs=0.01)


def test_soft_speech_after_another_voice_is_found(
    two_channels: Path, network: VoiceNetwork
) -> None:
    """The one pause is left out that lies between the voices."""
    activity = VoiceActivity(network, VadOptions())
    activity.add(samples_of(two_channels))
    (_, end), (start, _) = activity.clips()
    assert end == pytest.approx(2575, abs=15)
    assert start == pytest.approx(2835, abs=15)


def test_split_channels_have_their_own_speech(jfk: Path, quick_model: Model) -> None:
    speech = samples_of(jfk)
    channels = np.stack(
        [np.concatenate([speech, silence(20)]), np.concatenate([silence(20), speech])], axis=1
    )
    file = io.BytesIO()
    soundfile.write(file, channels, 16000, format="WAV")
    found = quick_model.transcribe(file.getvalue(), OPTIONS, channel="split")
    assert found.speech_seconds == pytest.approx(22, abs=1.5)
    by_speaker = {
        name: [segment for segment in found.segments if segment.speaker == name]
        for name in ("channel 1", "channel 2")
    }
    assert by_speaker["channel 1"][-1].end < 12
    assert by_speaker["channel 2"][0].start == pytest.approx(20, abs=MAX_ERROR_SECONDS + 0.4)
