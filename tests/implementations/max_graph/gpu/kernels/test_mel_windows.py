"""whisper_gpu_mel_windows and whisper_gpu_mel_loudness beside NumPy; equal to the bit."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.mel_ops import mel_loudness, mel_windows
from tests.support.gpu_ops import F32, I32, Array, FloatArray, GpuOps, OneOp, normal, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

N_MELS = {"mels_80": 80, "mels_128": 128, "mels_33": 33}
WINDOW_FRAMES = {"mels_80": 3000, "mels_128": 3000, "mels_33": 37}


def windows_graph(n_mels: int, n_frames: int) -> OneOp:
    def build(frames: TensorValue, floors: TensorValue, counts: TensorValue) -> TensorValue:
        return mel_windows(frames, floors, counts, n_frames)

    types = (
        tensor(F32, "n_rows", n_mels),
        tensor(F32, "n_windows"),
        tensor(I32, "n_windows", 2),
    )
    return OneOp(types, build)


LOUDNESS = OneOp((tensor(F32, "n_frames", "n_mels"), tensor(F32, 1)), mel_loudness)
OPS = GpuOps(
    loudness=LOUDNESS,
    **{name: windows_graph(n_mels, WINDOW_FRAMES[name]) for name, n_mels in N_MELS.items()},
)


def scaled(levels: FloatArray, floor: np.float32) -> FloatArray:
    found: FloatArray = (np.maximum(levels, floor) + np.float32(4)) * np.float32(0.25)
    return found


def expected_windows(frames: FloatArray, floors: FloatArray, counts: Array) -> FloatArray:
    windows = []
    for window, floor, (n_stored, n_filled) in zip(frames, floors, counts, strict=True):
        levels = window.copy()
        levels[n_stored:] = floor
        levels = scaled(levels, floor)
        levels[n_filled:] = 0
        windows.append(levels.T)
    return np.stack(windows)


@pytest.mark.parametrize("name", N_MELS)
def test_windows_with_silence_and_zeros_behind_the_frames(name: str) -> None:
    n_mels, n_frames = N_MELS[name], WINDOW_FRAMES[name]
    ends = [0, 1, n_frames // 2, n_frames - 1, n_frames]
    counts = np.array([(stored, filled) for stored in ends for filled in ends], np.int32)
    frames = normal(len(counts), n_frames, n_mels, scale=3)
    for window, (n_stored, _) in zip(frames, counts, strict=True):
        window[n_stored:] = np.nan  # must not be read
    floors = normal(len(counts), seed=1)
    (found,) = OPS.run(name, frames.reshape(-1, n_mels), floors, counts)
    np.testing.assert_array_equal(found, expected_windows(frames, floors, counts))


@pytest.mark.parametrize(("n_frames", "n_mels"), [(1, 80), (255, 80), (257, 128), (1000, 80)])
def test_loudness_is_the_mean_as_numpy_adds_it(n_frames: int, n_mels: int) -> None:
    frames, floor = normal(n_frames, n_mels, scale=3), np.float32(-1.5)
    (found,) = OPS.run("loudness", frames, np.array([floor]))
    bands_first = np.ascontiguousarray(scaled(frames, floor).T)
    np.testing.assert_array_equal(found, bands_first.mean(axis=0, dtype=np.float64))
