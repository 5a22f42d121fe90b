"""whisper_gpu_log_mel beside NumPy's FFT in float64: lengths about a block of eight frames."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType

from implementations.log_mel import hann_window
from implementations.max_graph.gpu.graphs.mel_ops import FRAMES_OF_BLOCK, log_mel
from implementations.max_graph.gpu.weights import log_mel_constants
from tests.support.gpu_ops import F32, FloatArray, GpuOps, OneOp, normal, tensor
from tests.support.hardware import needs_max_gpu
from weights.dims import HOP_LENGTH, N_FFT

pytestmark = [pytest.mark.gpu, needs_max_gpu]

N_BINS = N_FFT // 2 + 1
TOLERANCE = 1e-5
"""In units of log10, for power from 1e-10 up: sums in float64, the bands' in float32."""

OPS = GpuOps(
    log_mel=OneOp(
        (
            tensor(F32, "n_samples"),
            tensor(F32, "n_mels", N_BINS),
            tensor(F32, N_FFT),
            tensor(DType.float64, 2, N_FFT),
        ),
        log_mel,
    )
)


def found_and_expected(samples: FloatArray, n_mels: int) -> tuple[FloatArray, FloatArray]:
    filters = np.random.default_rng(3).random((n_mels, N_BINS), np.float32) ** 8
    window, waves = log_mel_constants().values()
    found, peaks = OPS.run("log_mel", samples, filters, window, waves)
    starts = range(0, len(found), FRAMES_OF_BLOCK)
    highest = [found[start : start + FRAMES_OF_BLOCK].max() for start in starts]
    np.testing.assert_array_equal(peaks, np.array(highest, np.float32))
    frames = np.lib.stride_tricks.sliding_window_view(samples, N_FFT)[::HOP_LENGTH]
    power = np.abs(np.fft.rfft((frames * hann_window()).astype(np.float64))) ** 2
    return found, np.log10(np.maximum(power @ filters.astype(np.float64).T, 1e-10))


@pytest.mark.parametrize("n_mels", [1, 80, 128])
@pytest.mark.parametrize("n_frames", [1, 3, 7, 8, 9, 33])
@pytest.mark.parametrize("n_more", [0, HOP_LENGTH - 1])
def test_noise(n_frames: int, n_more: int, n_mels: int) -> None:
    samples = normal(N_FFT + (n_frames - 1) * HOP_LENGTH + n_more, scale=0.1)
    found, expected = found_and_expected(samples, n_mels)
    assert found.shape == (n_frames, n_mels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_quiet_bands_beside_a_loud_tone_keep_their_digits() -> None:
    seconds = np.arange(16000) / 16000
    noise = normal(16000, scale=1e-5)
    samples = (np.sin(2 * np.pi * 440 * seconds) + noise).astype(np.float32)
    np.testing.assert_allclose(*found_and_expected(samples, 80), rtol=0, atol=TOLERANCE)


def test_silence_is_the_floor() -> None:
    found, _ = found_and_expected(np.zeros(1600, np.float32), 80)
    np.testing.assert_allclose(found, -10, rtol=0, atol=TOLERANCE)
