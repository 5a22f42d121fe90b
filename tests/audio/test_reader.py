"""Results of `open_audio` for good sources: formats, channels, rates, streams, arrays."""

import hashlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio.container import tag_options
from maxwhisper_cli.audio.reader import AudioError, open_audio
from tests.support.sound import encode, tone

RATE = 16000


def read_samples(source: object, channel: object = "mix") -> np.ndarray:
    with open_audio(source, channel) as audio:  # type: ignore[arg-type]
        samples = audio.read()
    assert audio.warnings == []
    assert samples.dtype == np.float32
    return samples


def pitch(samples: np.ndarray) -> float:
    """Returns the strongest frequency, in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples))


def test_16_bit_wav_equals_whispers_samples(jfk: Path) -> None:
    data = jfk.read_bytes()
    start = data.index(b"data") + 8
    stored = np.frombuffer(data[start : start + 2 * 176000], np.int16)
    np.testing.assert_array_equal(read_samples(jfk), stored.astype(np.float32) / 32768.0)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_sample_formats(tmp_path: Path, subtype: str) -> None:
    samples = tone(440, 1.0, RATE)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype=subtype)
    np.testing.assert_allclose(read_samples(tmp_path / "a.wav"), samples, atol=5e-5)


@pytest.mark.parametrize("extension", ["flac", "ogg", "aiff", "au", "caf", "w64", "mp3"])
def test_soundfile_formats(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, tone(440, 2.0, RATE), RATE)
    samples = read_samples(path)
    assert len(samples) == pytest.approx(2 * RATE, abs=RATE // 10)
    assert pitch(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("extension", "container", "codec", "video"),
    [
        ("m4a", "ipod", "aac", False),
        ("mp4", "mp4", "aac", True),
        ("mkv", "matroska", "aac", True),
        ("wma", "asf", "wmav2", False),
        ("webm", "webm", "libopus", False),
        ("g722", "g722", "g722", False),
    ],
)
def test_other_formats(
    tmp_path: Path, extension: str, container: str, codec: str, video: bool
) -> None:
    path = encode(tmp_path / f"a.{extension}", container, codec, video=video)
    samples = read_samples(path)
    assert len(samples) == pytest.approx(3 * RATE, abs=RATE // 10)
    assert pitch(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_sample_rates(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 5.0, rate), rate, subtype="FLOAT")
    with open_audio(tmp_path / "a.wav") as audio:
        assert (audio.sample_rate, audio.seconds) == (rate, 5.0)
        samples = audio.read()
    assert len(samples) == 5 * RATE
    inner = slice(RATE // 10, -RATE // 10)
    np.testing.assert_allclose(samples[inner], tone(440, 5.0, RATE)[inner], atol=1e-3)


def test_blocks_are_short(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(440, 60.0, 44100), 44100)
    with open_audio(tmp_path / "a.flac") as audio:
        lengths = [len(block) for block in audio]
    assert sum(lengths) == 60 * RATE
    assert max(lengths) < 8 * RATE


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_channels(tmp_path: Path, n_channels: int, extension: str) -> None:
    sound = np.stack([tone(300 * (i + 1), 1.0, RATE) for i in range(n_channels)], axis=1)
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, sound, RATE, subtype="PCM_24")
    np.testing.assert_allclose(read_samples(path), sound.mean(axis=1), atol=1e-5)
    for number in range(1, n_channels + 1):
        np.testing.assert_allclose(read_samples(path, number), sound[:, number - 1], atol=1e-5)
    np.testing.assert_array_equal(read_samples(path, "left"), read_samples(path, 1))
    if n_channels > 1:
        np.testing.assert_array_equal(read_samples(path, "right"), read_samples(path, 2))


def test_channels_of_a_container(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", "ipod", "aac")
    assert pitch(read_samples(path, "left")) == pytest.approx(440, abs=2)
    assert pitch(read_samples(path, "right")) == pytest.approx(880, abs=2)


@pytest.mark.parametrize("channel", ["right", 2, 0, -1, "centre"])
def test_missing_channel(jfk: Path, channel: str | int) -> None:
    with pytest.raises(AudioError, match=f"1 channel, and no channel {channel!r}"):
        open_audio(jfk, channel)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda path: soundfile.write(path, tone(440, 3.0, RATE), RATE, format="WAV"), "a.mp3"),
        (lambda path: soundfile.write(path, tone(440, 3.0, RATE), RATE, format="FLAC"), "a.raw"),
        (lambda path: soundfile.write(path, tone(440, 3.0, RATE), RATE, format="MP3"), "a.wav"),
        (lambda path: encode(path, "ipod", "aac"), "a.wav"),
        (lambda path: encode(path, "matroska", "aac", video=True), "noextension"),
    ],
    ids=["wav as mp3", "flac as raw", "mp3 as wav", "m4a as wav", "mkv without any"],
)
def test_wrong_extension(tmp_path: Path, make: Callable[[Path], object], wrong: str) -> None:
    make(tmp_path / wrong)
    assert pitch(read_samples(tmp_path / wrong)) == pytest.approx(440, abs=2)


def test_tags_that_are_not_utf_8(tmp_path: Path) -> None:
    """Old programs wrote them so: Latin-1 in the last 128 bytes of an MP3 (ID3v1)."""
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(440, 2.0, RATE), RATE)
    plain = read_samples(path)
    path.write_bytes(path.read_bytes() + b"TAG" + b"Caf\xe9".ljust(124, b"\0") + b"\xff")
    with pytest.raises(UnicodeDecodeError):
        path.read_bytes()[-128:].decode()
    np.testing.assert_array_equal(read_samples(path), plain)


def test_pyav_gets_only_supported_options() -> None:
    """The argument went in PyAV 19; the one that is installed is covered by the test above."""
    for version in ("14.0.0", "18.1.0"):
        assert tag_options(version) == {"metadata_errors": "replace"}
    for version in ("19.0.2", "20.0.0rc1"):
        assert tag_options(version) == {}


def test_file_object_stays_open(jfk: Path) -> None:
    with jfk.open("rb") as file:
        file.seek(1000)
        np.testing.assert_array_equal(read_samples(file), read_samples(jfk))
        assert not file.closed
    np.testing.assert_array_equal(read_samples(io.BytesIO(jfk.read_bytes())), read_samples(jfk))


def test_ctrl_c_cannot_be_lost_in_a_call_from_libsndfile(jfk: Path) -> None:
    class Uncalled(io.FileIO):
        def readinto(self, buffer: object, /) -> int:
            raise AssertionError("called from C, where what Python raises is dropped")

    with Uncalled(jfk) as file, open_audio(file) as audio:
        assert len(audio.read()) == len(read_samples(jfk))


def test_text_file_object(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    with (tmp_path / "a.txt").open() as file, pytest.raises(AudioError, match="binary mode"):
        open_audio(file)  # type: ignore[arg-type]


def test_named_pipe(jfk: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(jfk.read_bytes()))
    writer.start()
    np.testing.assert_array_equal(read_samples(pipe), read_samples(jfk))
    writer.join()


def test_standard_input(jfk: Path, tmp_path: Path) -> None:
    program = """
import hashlib
from maxwhisper_cli.audio.reader import open_audio
with open_audio("-") as audio:
    print(audio.name, hashlib.sha256(audio.read().tobytes()).hexdigest())
"""
    # A wav written to a pipe cannot know its length; that is not damage.
    data = bytearray(jfk.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"
    answer = subprocess.run(
        [sys.executable, "-c", program], input=bytes(data), capture_output=True, check=True
    )
    expected = hashlib.sha256(read_samples(jfk).tobytes()).hexdigest()
    assert answer.stdout.decode().strip() == f"standard input {expected}"
    (tmp_path / "endless.wav").write_bytes(data)
    np.testing.assert_array_equal(read_samples(tmp_path / "endless.wav"), read_samples(jfk))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_array(dtype: type) -> None:
    samples: np.ndarray = tone(440, 10.0, RATE).astype(dtype)
    given = samples.copy()
    np.testing.assert_array_equal(read_samples(samples), samples.astype(np.float32))
    np.testing.assert_array_equal(samples, given)


@pytest.mark.parametrize("bad", [np.zeros((2, 100), np.float32), np.zeros((3, 3, 3), np.int16)])
def test_array_that_is_no_sound(bad: np.ndarray) -> None:
    with pytest.raises(AudioError, match="is not mono sound"):
        open_audio(bad)


def test_facts_before_reading(two_channels: Path) -> None:
    with open_audio(two_channels) as audio:
        assert audio.n_channels == 2
        assert audio.seconds == pytest.approx(52.4408, abs=1e-3)
        assert audio.name == str(two_channels)


@pytest.mark.full
def test_every_recording(shared_audio_file: Path) -> None:
    with open_audio(shared_audio_file) as audio:
        samples = audio.read()
    assert audio.warnings == []
    assert audio.seconds == pytest.approx(len(samples) / RATE, abs=0.02)
    assert 0.01 < np.abs(samples).max() <= 1.2
