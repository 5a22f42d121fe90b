"""Long recordings in Ogg Opus: the faster library gives the samples of libsndfile's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio import opus as audio_opus
from maxwhisper_cli.audio import soundfile as audio_soundfile
from maxwhisper_cli.audio.reader import open_audio

RATE = 48000
N_SAMPLES = 5 * RATE
TOLERANCE = 1e-6
"""Between two builds of libopus, which add in other orders."""


@pytest.fixture(autouse=True)
def short_ones_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_soundfile, "_LONG_SECONDS", 4)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise and a tone, on two channels."""
    path = tmp_path_factory.mktemp("opus") / "a.opus"
    rng = np.random.default_rng(3)
    tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(N_SAMPLES) / RATE)
    sound = np.stack([tone, 0.1 * rng.standard_normal(N_SAMPLES)], axis=1)
    with soundfile.SoundFile(path, "w", RATE, 2, format="OGG", subtype="OPUS") as file:
        for start in range(0, N_SAMPLES, RATE):  # libsndfile fails with more at once
            file.write(sound[start : start + RATE])
    return path


def read_by_libsndfile(path: Path) -> np.ndarray:
    """Returns all samples from one read: several change the last ones."""
    samples: np.ndarray = soundfile.read(path, dtype="float32")[0]
    assert len(samples) == N_SAMPLES
    return samples


def read(path: Path) -> np.ndarray:
    """Returns both channels before they are resampled."""
    with open_audio(path, "split") as audio:
        samples = np.concatenate(list(audio._selected()))
    assert audio.warnings == []
    return samples


def test_the_samples_are_those_of_libsndfile(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_decoded = []
    original = audio_opus.decode_opus

    def counted(*arguments: object) -> Iterator[np.ndarray]:
        for block in original(*arguments):  # type: ignore[arg-type]
            n_decoded.append(len(block))
            yield block

    monkeypatch.setattr(audio_opus, "decode_opus", counted)
    samples = read(recording)
    assert sum(n_decoded) == N_SAMPLES
    np.testing.assert_allclose(samples, read_by_libsndfile(recording), rtol=0, atol=TOLERANCE)


def test_without_that_library_libsndfile_reads(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ValueError("no such codec")

    monkeypatch.setattr("av.CodecContext.create", missing)
    expected = read_by_libsndfile(recording)[:-RATE]
    np.testing.assert_array_equal(read(recording)[:-RATE], expected)


def test_libsndfile_goes_on_where_the_other_ends(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = audio_opus.decode_opus

    def ended(*arguments: object) -> Iterator[np.ndarray]:
        yield next(original(*arguments))  # type: ignore[arg-type]

    monkeypatch.setattr(audio_opus, "decode_opus", ended)
    samples = read(recording)
    assert len(samples) == N_SAMPLES
    # A decoder that begins in the middle converges within 80 ms (RFC 7845, section 4.6).
    np.testing.assert_allclose(samples, read_by_libsndfile(recording), rtol=0, atol=1e-2)
