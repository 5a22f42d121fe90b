"""An excerpt is that part of the whole recording, wherever its reading begins."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio.excerpt import Excerpt
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.audio.spans import SpanReader
from maxwhisper_cli.recording import RecordingReader, RecordingRequest
from maxwhisper_cli.speech.network_loader import NetworkLoader
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.speakers import SpeakerMels
from maxwhisper_cli.transcription.stopwatch import STOPPED
from tests.support.scripted import ScriptedImplementation, window

SECONDS = 40.0
PARTS = ((0.0, 1.0), (31.234567, 2.5), (33.0, None), (12.00003, 30.0), (39.9, 5.0), (5.0, 0.0001))


@pytest.fixture(scope="module", params=["16000 WAV", "44100 WAV", "48000 FLAC", "44100 MP3"])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rate, kind = request.param.split()
    path = tmp_path_factory.mktemp("excerpts") / f"noise.{kind.lower()}"
    samples = 0.2 * np.random.default_rng(0).standard_normal((int(SECONDS * int(rate)), 2))
    soundfile.write(path, samples.clip(-1, 1), int(rate), format=kind)
    return path


@pytest.mark.parametrize("channel", ["mix", "split"])
def test_it_is_that_part_of_the_whole(
    recording: Path, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_read = [0]
    selected = SpanReader._selected

    def counted(self: SpanReader, start: int, end: int) -> Any:
        for block in selected(self, start, end):
            n_read[0] += len(block)
            yield block

    with open_audio(str(recording), channel) as opened:
        whole = opened.read()
    monkeypatch.setattr(SpanReader, "_selected", counted)
    monkeypatch.setattr("maxwhisper_cli.audio.spans.LOOK_AHEAD_SECONDS", 1)
    for start, seconds in PARTS:
        n_read[0] = 0
        with open_audio(str(recording), channel) as opened:
            found = np.concatenate(list(Excerpt(start, seconds).of(opened)))
            assert opened.warnings == []
        first = round(start * 16000)
        last = None if seconds is None else first + round(seconds * 16000)
        np.testing.assert_allclose(found, whole[first:last], atol=1e-6, rtol=0)
        n_wanted = len(found) / 16000 * opened.sample_rate
        assert 0 < n_read[0] < n_wanted + 1.3 * opened.sample_rate


def test_an_excerpt_behind_the_end_has_a_warning(recording: Path) -> None:
    with open_audio(str(recording)) as opened:
        assert [len(block) for block in Excerpt(41.0, 2.0).of(opened)] == []
        (warning,) = opened.warnings
    assert "ends at 40.0" in warning


def test_floats_that_hold_integers_are_scaled_by_the_beginning(tmp_path: Path) -> None:
    """The excerpt alone is too quiet to tell."""
    samples = np.zeros(int(SECONDS * 16000), np.float32)
    samples[: 5 * 16000] = 20000 * np.sin(np.arange(5 * 16000))
    samples[-16000:] = 100.0
    path = tmp_path / "integers.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    with open_audio(str(path)) as opened:
        found = np.concatenate(list(Excerpt(39.0, 1.0).of(opened)))
    np.testing.assert_allclose(found, 100 / 32768)


def test_the_channels_of_an_excerpt_are_cut_once(tmp_path: Path) -> None:
    """Each channel was cut again, from its own beginning."""
    path = tmp_path / "call.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (10 * 16000, 2)), 16000)
    implementation = ScriptedImplementation(lambda _: window([]))
    reader = RecordingReader(implementation, NetworkLoader(), STOPPED)
    request = RecordingRequest("call", lambda: nullcontext(str(path)), Excerpt(4.0, 3.0))
    with reader.open(request, TranscribeOptions(), {"channel": "split"}) as recording:
        assert isinstance(recording.mel, SpeakerMels)
        assert [mel.n_content_frames for mel in recording.mel.by_speaker.values()] == [300, 300]
