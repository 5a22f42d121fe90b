"""Channels read together: the same samples as one at a time, in bounded memory."""

import io
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio import channels as audio_channels
from maxwhisper_cli.audio.channels import split_channels
from maxwhisper_cli.audio.reader import AudioError, AudioSource, open_audio
from maxwhisper_cli.audio.stream import Float32


def read_split(source: AudioSource) -> list[Float32]:
    with ExitStack() as resources, open_audio(source, "split") as audio:
        channels = split_channels(audio, audio.n_channels, audio.name, resources)
        return [np.concatenate(list(channel)) for channel in channels]


@pytest.fixture(scope="module", params=[8000, 16000, 44100])
def three_channels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Three channels of noise with a sample that is no number, which is mended."""
    samples = np.random.default_rng(0).normal(0, 0.1, (5 * request.param, 3)).astype(np.float32)
    samples[1000, 1] = np.nan
    path = tmp_path_factory.mktemp("sound") / "three.wav"
    soundfile.write(str(path), samples, request.param, subtype="FLOAT", format="WAV")
    return path


@pytest.mark.parametrize("max_bytes", [2**26, 10_000], ids=["memory", "files"])
def test_samples_are_those_of_each_channel_alone(
    three_channels: Path, max_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_channels, "_MEMORY_BYTES", max_bytes)
    split = read_split(three_channels)
    for number, samples in enumerate(split, 1):
        with open_audio(three_channels, number) as alone:
            assert np.array_equal(samples, alone.read())


def test_a_stream_is_read_once(three_channels: Path) -> None:
    class Pipe(io.BytesIO):
        """Standard input: it cannot seek."""

        def seekable(self) -> bool:
            return False

        def seek(self, _offset: int, _whence: int = 0) -> int:
            raise OSError("not seekable")

    split = read_split(Pipe(three_channels.read_bytes()))
    assert [len(samples) for samples in split] == [5 * 16000] * 3


def test_a_full_disk_is_an_error(three_channels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def __init__(self, _max_size: int) -> None:
            super().__init__()

        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(audio_channels, "SpooledTemporaryFile", Full)
    with pytest.raises(AudioError, match=r"three.wav cannot be kept .*No space left.*: make room"):
        read_split(three_channels)
