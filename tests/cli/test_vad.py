"""Voice activity detection on the command line: options, spellings, messages, the real network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.commands.transcribe import Transcribe
from maxwhisper_cli.transcription.options import TranscribeOptions, VadOptions
from tests.cli.conftest import FakeModels, MakeSound, RunCommandLine
from tests.support.loaded import samples_of


@pytest.fixture
def vad_of(maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Parses a command line up to the point where work would begin; returns options.vad."""
    Path("talk.wav").touch()
    captured: list[TranscribeOptions] = []
    monkeypatch.setattr(
        "maxwhisper_cli.commands.batch.transcribe_files",
        lambda _sinks, settings: captured.append(settings.options),
    )

    def parse(*arguments: str) -> VadOptions | None:
        done = maxwhisper("transcribe", "talk.wav", *arguments)
        assert done.exit_code == 0, done.stderr
        return captured.pop().vad

    return parse


def test_off_by_default(vad_of: Any) -> None:
    assert not Transcribe([]).vad
    assert vad_of() is None
    assert vad_of("--vad", "False") is None


@pytest.mark.parametrize("arguments", [["--vad"], ["--vad", "True"], ["--vad_filter", "true"]])
def test_on(vad_of: Any, arguments: list[str]) -> None:
    assert vad_of(*arguments) == VadOptions()


def test_its_options(vad_of: Any) -> None:
    own = ["--vad-threshold", "0.6", "--vad-neg-threshold", "0.2", "--vad-min-speech-ms", "100"]
    own += ["--vad-min-silence-ms", "500", "--vad-speech-pad-ms", "30", "--vad-max-speech-s", "20"]
    expected = VadOptions(0.6, 0.2, 100, 500, 30, 20.0)
    assert vad_of("--vad", *own) == expected


def test_names_of_whisper_ctranslate2(vad_of: Any) -> None:
    theirs = ["--vad_filter", "True", "--vad_threshold", "0.6"]
    theirs += ["--vad_min_speech_duration_ms", "100", "--vad_max_speech_duration_s", "20"]
    theirs += ["--vad_min_silence_duration_ms", "500"]
    assert vad_of(*theirs) == VadOptions(0.6, None, 100, 500, max_speech_s=20.0)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--vad-threshold", "0.6"], "--vad-threshold needs --vad"),
        (["--vad_max_speech_duration_s", "9"], "--vad-max-speech-s needs --vad"),
        (["--vad", "--vad-threshold", "2"], "vad threshold must be from 0 to 1"),
        (["--language-detection-segments", "0"], "language_detection_segments must be"),
    ],
)
def test_refused(maxwhisper: RunCommandLine, arguments: list[str], reason: str) -> None:
    Path("talk.wav").touch()
    done = maxwhisper("transcribe", "talk.wav", *arguments)
    assert done.exit_code == 2
    assert reason in done.stderr


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_recording_without_speech(
    maxwhisper: RunCommandLine, models: FakeModels, sound: MakeSound, batch_size: int
) -> None:
    path = sound("tone.wav", 65)
    done = maxwhisper(
        "transcribe", path, "--vad", "-o", "out", "--batch-size", str(batch_size), "--model", "x"
    )
    assert done.exit_code == 0, done.stderr
    assert "no speech was found, so that nothing was decoded" in done.stderr
    assert "tone.wav: no speech, 1:05 of audio in" in done.stderr
    assert models.implementations[0].windows == []
    assert Path("out/tone.txt").read_text(encoding="utf-8") == ""
    written = json.loads(Path("out/tone.json").read_text(encoding="utf-8"))
    assert (written["text"], written["segments"]) == ("", [])
    assert (written["duration"], written["duration_after_vad"]) == (65.0, 0)


def test_speech_in_a_long_silence(
    maxwhisper: RunCommandLine, models: FakeModels, jfk: Path, tmp_path: Path
) -> None:
    """Decodes one window of the 31 s, within half a second of the speech at both ends."""
    pause = np.zeros(10 * 16000, np.float32)
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.concatenate([pause, samples_of(jfk), pause]), 16000)
    done = maxwhisper("transcribe", path, "--vad", "-o", "out", "--timings", "--model", "x")
    assert done.exit_code == 0, done.stderr
    assert "0:31 of audio (0:11 of speech) in" in done.stderr
    assert "\nspeech " in done.stderr
    (window,) = models.implementations[0].windows
    assert not window[0, :, 1200:].any()
    (segment,) = json.loads(Path("out/speech.json").read_text(encoding="utf-8"))["segments"]
    assert segment["seek"] == pytest.approx(1000, abs=50)


def test_offline_without_the_network(
    maxwhisper: RunCommandLine, models: FakeModels, sound: MakeSound, tmp_path: Path
) -> None:
    """The refusal comes before a model is loaded."""
    path = sound("tone.wav", 1)
    done = maxwhisper(
        "transcribe", path, "--vad", "--offline", "--model-dir", tmp_path / "none", "--model", "x"
    )
    assert done.exit_code == 1
    assert "voice activity detection needs silero_vad_16k_op15.onnx" in done.stderr
    assert models.calls == []
