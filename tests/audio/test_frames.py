"""Frames that are joined before they are converted give the samples of each frame alone."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame

from maxwhisper_cli.audio.reader import open_audio
from tests.support.sound import encode, tone, write_track

RATE = 16000


def decode_one_by_one(path: Path) -> np.ndarray:
    """Returns the samples that FFmpeg decodes, `[n_samples, n_channels]`, frame by frame."""
    pieces = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            assert isinstance(frame, AudioFrame)
            samples = frame.to_ndarray()
            scale = {"s16": 2.0**-15, "s32": 2.0**-31}.get(frame.format.name.rstrip("p"), 1.0)
            shaped = samples.T if frame.format.is_planar else samples.reshape(-1, 1)
            pieces.append(shaped.astype(np.float32) * np.float32(scale))
    return np.concatenate(pieces)


def read(path: Path) -> np.ndarray:
    with open_audio(path) as audio:
        samples = audio.read()
    assert audio.warnings == []
    return samples


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp3", "libmp3lame"), ("mp4", "aac"), ("adts", "aac"), ("flac", "flac")],
)
def test_joined_frames_are_the_frames(tmp_path: Path, container: str, codec: str) -> None:
    rng = np.random.default_rng(5)
    samples = tone(440, 10.0, RATE) + 0.1 * rng.standard_normal(10 * RATE).astype(np.float32)
    write_track(tmp_path / "a", container, codec, samples)
    np.testing.assert_array_equal(read(tmp_path / "a"), decode_one_by_one(tmp_path / "a")[:, 0])


def test_two_channels_are_mixed_as_one_mean(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", "mp4", "aac")
    expected = decode_one_by_one(path)
    assert expected.shape[1] == 2
    with open_audio(path) as audio:
        mixed = np.concatenate(list(audio._selected()))
    np.testing.assert_array_equal(mixed, expected.mean(axis=1, dtype=np.float32))


def test_a_change_of_channels_ends_a_run(tmp_path: Path) -> None:
    mono = tone(440, 5.0, RATE)
    write_track(tmp_path / "mono.mp3", "mp3", "libmp3lame", mono)
    encode(tmp_path / "stereo.mp3", "mp3", "libmp3lame")
    both = tmp_path / "both.mp3"
    pieces = [(tmp_path / f"{name}.mp3").read_bytes() for name in ("mono", "stereo", "mono")]
    both.write_bytes(b"".join(pieces))
    with open_audio(both) as audio:
        samples = audio.read()
    n_mono = len(decode_one_by_one(tmp_path / "mono.mp3"))
    np.testing.assert_array_equal(samples[:n_mono], read(tmp_path / "mono.mp3"))
    assert len(samples) / RATE == pytest.approx(13.0, abs=0.3)
    assert 0.1 < np.abs(samples[-RATE:]).max() < 0.5
