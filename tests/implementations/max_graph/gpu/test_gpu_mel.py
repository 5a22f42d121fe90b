"""Mel frames that stay on a GPU: the CPU's numbers, windows equal to the bit, bounded memory."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.log_mel import log_mel_frames
from implementations.max_graph.gpu.implementation import GpuFullMax
from implementations.mel_frames import MelFrames
from maxwhisper_cli.transcription.cuts import cut_clips
from maxwhisper_cli.transcription.mel import N_FRAMES, MelSpectrogram
from tests.support import loaded
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

TOLERANCE = 1e-4
"""Distance of scaled frames from NumPy's; the CPU's test allows it from openai-whisper's."""


@pytest.fixture(params=["float32", "float16"])
def on_gpu(request: pytest.FixtureRequest) -> GpuFullMax:
    found = loaded.load("tiny.en", "full-max", device="cuda", dtype=request.param).implementation
    assert isinstance(found, GpuFullMax)
    return found


@pytest.fixture
def samples(sonnet: Path) -> np.ndarray:
    """Speech with a quiet beginning, 83 s, over several pieces of frames."""
    speech = loaded.samples_of(sonnet)
    return np.concatenate([speech[: 30 * 16000] * np.float32(0.01), speech])


def spectrogram(samples: np.ndarray, on_gpu: GpuFullMax, n_frames: int = 1000) -> MelSpectrogram:
    return MelSpectrogram([samples], 80, transform=on_gpu.log_mel, frames_at_once=n_frames)


def test_frames_and_windows(samples: np.ndarray, on_gpu: GpuFullMax) -> None:
    with MelSpectrogram([samples], 80) as host, spectrogram(samples, on_gpu) as mel:
        expected = host.window(0, host.n_frames)
        np.testing.assert_allclose(mel.window(0, mel.n_frames), expected, rtol=0, atol=TOLERANCE)
        loudness = host.loudness(0, host.n_frames)
        np.testing.assert_allclose(mel.loudness(0, mel.n_frames), loudness, rtol=0, atol=TOLERANCE)
        clips = [(0, mel.n_content_frames)]
        found, wanted = cut_clips(clips, mel.loudness), cut_clips(clips, host.loudness)
        assert [len(parts) for parts in (found, wanted)] == [4, 4]
        np.testing.assert_allclose(found, wanted, atol=1)
        places = [(0, N_FRAMES), (700, N_FRAMES), (1999, 1), (5000, N_FRAMES), (8000, 100)]
        windows = [mel.device_window(*place) for place in places]
        chosen = [window for window in windows if window is not None]
        assert len(chosen) == len(places)
        on_host = np.stack([mel.padded_window(*place) for place in places])
        together = on_gpu.encode_frames(chosen).numpy()
        np.testing.assert_array_equal(together, on_gpu.encode(on_host).numpy())
        for _ in range(2):  # executed, then captured
            for window, array in zip(chosen, on_host, strict=True):
                alone = on_gpu.encode_frames([window]).numpy()
                np.testing.assert_array_equal(alone, on_gpu.encode(array[None]).numpy())


def test_frames_beyond_the_memory_for_them_are_on_the_host(
    samples: np.ndarray, on_gpu: GpuFullMax, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spectrogram(samples, on_gpu) as whole:
        monkeypatch.setattr(on_gpu._mel, "_max_bytes", on_gpu._mel._n_bytes() + 1500 * 320)
        with spectrogram(samples, on_gpu) as mel:
            assert mel.device_window(0, 900) is not None
            assert mel.device_window(0, N_FRAMES) is None
            np.testing.assert_array_equal(
                mel.window(0, mel.n_frames), whole.window(0, whole.n_frames)
            )
        with spectrogram(samples, on_gpu) as mel:  # its frames take the place of those before
            assert mel.device_window(0, 900) is not None


def test_one_call(on_gpu: GpuFullMax) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16000 * 3).astype(np.float32)
    filters = np.random.default_rng(1).random((80, 201), np.float32)
    frames = on_gpu.log_mel(samples, filters)
    assert isinstance(frames, MelFrames)
    expected = log_mel_frames(samples, filters)
    samples[:] = 0  # may be overwritten
    np.testing.assert_allclose(frames.numpy(0, len(frames)), expected, rtol=0, atol=TOLERANCE)
    assert frames.loudest == frames.numpy(0, len(frames)).max()
