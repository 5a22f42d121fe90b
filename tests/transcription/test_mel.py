"""Log-mel frames against openai-whisper's, and the behaviour that streaming adds.

Openai-whisper's own numbers are no fixed point: its float32 Fourier transform comes from MKL, whose
rounding depends on the processor, and bins 60 dB below their frame's loudest amplify it. On one
machine, `whisper.log_mel_spectrogram` of jfk moves by 3.4e-5 between MKL's AVX-512 and AVX2 code.
The bounds here are of that size.
"""

import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper.audio import N_SAMPLES, log_mel_spectrogram

from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.transcription import mel as mel_module
from maxwhisper_cli.transcription import mel_store
from maxwhisper_cli.transcription.mel import N_FRAMES, MelSpectrogram

LARGEST_DIFFERENCE = 1e-4
MEAN_DIFFERENCE = 1e-6
SHARE_ABOVE_1E5 = 1e-3


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32) * 0.1


def reference(samples: np.ndarray, n_mels: int = 80) -> np.ndarray:
    return log_mel_spectrogram(torch.from_numpy(samples), n_mels, padding=N_SAMPLES).numpy()


def assert_near_whisper(path: Path, n_mels: int) -> None:
    with open_audio(path) as audio:
        samples = audio.read()
    expected = reference(samples, n_mels)
    with MelSpectrogram([samples], n_mels) as mel:
        assert (mel.n_mels, mel.n_frames) == expected.shape
        difference = np.abs(mel.window(0, mel.n_frames) - expected)
    assert difference.max() < LARGEST_DIFFERENCE
    assert difference.mean() < MEAN_DIFFERENCE
    assert (difference > 1e-5).mean() < SHARE_ABOVE_1E5


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("sample", ["jfk", "sonnet", "spanish"])
def test_equals_whisper(sample: str, n_mels: int, request: pytest.FixtureRequest) -> None:
    assert_near_whisper(request.getfixturevalue(sample), n_mels)


@pytest.mark.full
@pytest.mark.parametrize("n_mels", [80, 128])
def test_equals_whisper_on_every_recording(shared_audio_file: Path, n_mels: int) -> None:
    assert_near_whisper(shared_audio_file, n_mels)


@pytest.mark.parametrize("n_samples", [201, 399, 400, 1600, 16000, 16080, 81921, 100000])
def test_any_length_equals_whisper(n_samples: int) -> None:
    samples = noise(n_samples)
    with MelSpectrogram([samples], 80) as mel:
        assert mel.n_content_frames == n_samples // 160
        assert mel.n_frames == n_samples // 160 + N_FRAMES
        np.testing.assert_allclose(
            mel.window(0, mel.n_frames), reference(samples), atol=LARGEST_DIFFERENCE, rtol=0
        )


@pytest.mark.parametrize("n_samples", [0, 1, 10, 160, 200])
def test_shorter_than_half_a_window(n_samples: int) -> None:
    samples = noise(n_samples)
    with MelSpectrogram([samples] if n_samples else [], 80) as mel:
        assert mel.n_content_frames == n_samples // 160
        np.testing.assert_allclose(
            mel.window(0, 10), reference(samples)[:, :10], atol=LARGEST_DIFFERENCE, rtol=0
        )


@pytest.mark.parametrize("n_block", [1, 7, 159, 160, 201, 5000])
def test_blocks_make_no_difference(n_block: int) -> None:
    samples = noise(20000 if n_block > 1 else 2000)
    blocks = [samples[start : start + n_block] for start in range(0, len(samples), n_block)]
    with MelSpectrogram(blocks, 80) as mel, MelSpectrogram([samples], 80) as whole:
        assert mel.seconds == whole.seconds == len(samples) / 16000
        np.testing.assert_allclose(
            mel.window(0, mel.n_frames), whole.window(0, whole.n_frames), atol=1e-6, rtol=0
        )


def test_silence_is_the_floor() -> None:
    with MelSpectrogram([np.zeros(16000, np.float32)], 80) as mel:
        assert np.all(mel.window(0, mel.n_frames) == -1.5)


def test_the_floor_comes_from_the_loudest_frame_anywhere() -> None:
    quiet = noise(48000) * np.float32(1e-4)
    with MelSpectrogram([quiet], 80) as alone:
        first = alone.window(0, 100)
    with MelSpectrogram([quiet, noise(16000) * np.float32(10)], 80) as mel:
        assert mel.window(0, 100).min() > first.min()
        assert mel.window(0, 100).min() == mel.window(0, mel.n_frames).min()


def test_windows() -> None:
    samples = noise(16000 * 40)
    with MelSpectrogram([samples], 80) as mel:
        whole = mel.window(0, mel.n_frames)
        assert whole.dtype == np.float32
        assert whole.flags.c_contiguous
        np.testing.assert_array_equal(mel.window(1234, 567), whole[:, 1234 : 1234 + 567])
        end = mel.window(mel.n_frames - 5, 100)
        np.testing.assert_array_equal(end, whole[:, -5:])
        assert mel.window(mel.n_frames + 5, 100).shape == (80, 0)


def test_padded_window_is_zero_in_mel_values() -> None:
    samples = noise(16000 * 12)
    with MelSpectrogram([samples], 80) as mel:
        segment = torch.from_numpy(reference(samples))[:, 1000:1200]
        expected = whisper.pad_or_trim(segment, N_FRAMES).numpy()
        padded = mel.padded_window(1000, 200)
        assert padded.shape == (80, N_FRAMES)
        np.testing.assert_allclose(padded, expected, atol=LARGEST_DIFFERENCE, rtol=0)
        assert np.all(padded[:, 200:] == 0)


class SlowFile:
    """A file that lets other threads run between a seek and the read after it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.close = file.close
        self.read = file.read

    def seek(self, offset: int) -> None:
        self._file.seek(offset)
        time.sleep(1e-4)


def test_threads_read_their_own_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mel_store, "_MEMORY_BYTES", 0)
    with MelSpectrogram([noise(16000 * 60)], 80) as mel:
        starts = [(37 * index) % 5900 for index in range(400)]
        expected = [mel.window(start, 50) for start in starts]
        monkeypatch.setattr(mel._store, "_file", SlowFile(mel._store._file))
        with ThreadPoolExecutor(8) as pool:
            windows = list(pool.map(lambda start: mel.window(start, 50), starts))
    for window, wanted in zip(windows, expected, strict=True):
        np.testing.assert_array_equal(window, wanted)


def test_progress_counts_seconds() -> None:
    seen: list[float] = []
    with MelSpectrogram([noise(16000 * 30)], 80, progress=seen.append):
        assert seen == sorted(seen)
        assert len(seen) > 3
        assert seen[-1] == 30.0


def test_frames_go_to_disk_beyond_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten hours in small: an hour in blocks that are made on demand, with 2 MB allowed."""
    monkeypatch.setattr(mel_store, "_MEMORY_BYTES", 2 * 2**20)
    block = noise(16000 * 30)
    tracemalloc.start()
    try:
        with MelSpectrogram((block for _ in range(20)), 80) as mel:
            _, peak = tracemalloc.get_traced_memory()
            assert mel.n_content_frames == 60000  # 19 MB of frames
            assert mel.window(57000, 3000).shape == (80, 3000)
    finally:
        tracemalloc.stop()
    assert peak < 14 * 2**20


def test_windows_from_disk_are_those_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(16000 * 40)
    with MelSpectrogram([samples], 80) as mel:
        in_memory = mel.window(0, mel.n_frames)
    monkeypatch.setattr(mel_store, "_MEMORY_BYTES", 10**6)  # 3,125 frames: some are there by then
    with MelSpectrogram([samples], 80) as mel:
        for start, n_frames in ((0, mel.n_frames), (3000, 3000), (mel.n_frames - 5, 100)):
            window = mel.window(start, n_frames)
            np.testing.assert_array_equal(window, in_memory[:, start : start + n_frames])


def test_a_failing_source_leaves_no_file_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    close = MelSpectrogram.close

    def closing(mel: MelSpectrogram) -> None:
        closed.append(True)
        close(mel)

    monkeypatch.setattr(MelSpectrogram, "close", closing)

    def failing() -> Iterator[np.ndarray]:
        yield noise(16000)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        MelSpectrogram(failing(), 80)
    assert closed == [True]


def test_window_overwrites_the_buffer() -> None:
    with MelSpectrogram([noise(40 * mel_module.SAMPLE_RATE)], 80) as mel:
        for place in ((0, N_FRAMES), (1500, 700), (3900, N_FRAMES)):
            window = np.full((80, N_FRAMES), np.nan, np.float32)
            mel.fill_padded(window, *place)
            np.testing.assert_array_equal(window, mel.padded_window(*place))
        np.testing.assert_array_equal(mel.padded_window(1500, 700)[:, :700], mel.window(1500, 700))
