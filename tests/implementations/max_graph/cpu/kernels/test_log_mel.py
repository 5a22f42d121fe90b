"""The operation `whisper_cpu_log_mel` against numpy's Fourier transform."""

import numpy as np
import pytest

from implementations.log_mel import hann_window
from implementations.max_graph.cpu.weights import graph_constants
from tests.support import cpu_kernels
from weights.dims import HOP_LENGTH, N_FFT

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

TOLERANCE = 2e-6
"""Absolute, of a logarithm: the transform is in float64, the sum over a band in float32."""


def log_mel(samples: np.ndarray, filters: np.ndarray) -> np.ndarray:
    tables = graph_constants(n_threads=0)
    waves = (tables[f"log_mel.{name}"] for name in ("window", "cosines", "sines"))
    (frames,) = cpu_kernels.run("log_mel", samples, filters, *waves)
    return frames


def expected_of(samples: np.ndarray, filters: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(samples, N_FFT)[::HOP_LENGTH]
    power = np.abs(np.fft.rfft((frames * hann_window()).astype(np.float64))) ** 2
    return np.log10(np.maximum(power @ filters.T.astype(np.float64), 1e-10))


def random_filters(n_mels: int) -> np.ndarray:
    return np.random.default_rng(n_mels).random((n_mels, N_FFT // 2 + 1), np.float32) ** 8


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("n_frames", [1, 3, 6, 7, 33, 100])
def test_frames_of_noise(n_mels: int, n_frames: int) -> None:
    n_samples = N_FFT + (n_frames - 1) * HOP_LENGTH
    samples = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    frames, filters = log_mel(samples, random_filters(n_mels)), random_filters(n_mels)
    assert frames.shape == (n_frames, n_mels)
    np.testing.assert_allclose(frames, expected_of(samples, filters), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n_more", [1, HOP_LENGTH - 1])
def test_samples_that_fill_no_frame_are_left_out(n_more: int) -> None:
    samples = np.random.default_rng(1).standard_normal(N_FFT + 2 * HOP_LENGTH).astype(np.float32)
    filters = random_filters(80)
    more = np.concatenate([samples, np.full(n_more, 9, np.float32)])
    np.testing.assert_array_equal(log_mel(more, filters), log_mel(samples, filters))


def test_silence_is_the_floor() -> None:
    frames = log_mel(np.zeros(N_FFT + HOP_LENGTH, np.float32), random_filters(80))
    np.testing.assert_allclose(frames, np.full((2, 80), -10), rtol=0, atol=TOLERANCE)


def test_a_quiet_band_keeps_its_digits_beside_a_loud_tone() -> None:
    seconds = np.arange(1200) / 16000
    noise = 1e-5 * np.random.default_rng(2).standard_normal(1200)
    samples = (np.sin(2 * np.pi * 440 * seconds) + noise).astype(np.float32)
    filters = np.zeros((80, N_FFT // 2 + 1), np.float32)
    filters[np.arange(80), 100 + np.arange(80)] = 1  # one frequency a band, far from the tone's
    frames = log_mel(samples, filters)
    assert frames.max() < -3
    np.testing.assert_allclose(frames, expected_of(samples, filters), rtol=0, atol=1e-5)
