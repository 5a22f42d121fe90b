"""Mel frames that count as those of a device, in NumPy, and an implementation that encodes them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from implementations.log_mel import log_mel_frames
from implementations.mel_frames import MelFrames, MelWindow
from implementations.session import FloatArray
from tests.support.scripted import ScriptedFeatures
from tests.support.scripted_rows import RowImplementation


class ArrayFrames(MelFrames):
    """Frames in an array; counts the frames that were copied to the host."""

    n_copied = 0

    def __init__(self, array: FloatArray) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @property
    def loudest(self) -> float:
        return float(self._array.max())

    def numpy(self, start: int, stop: int) -> FloatArray:
        ArrayFrames.n_copied += stop - start
        return self._array[start:stop].copy()

    def loudness(self, floor: float) -> npt.NDArray[np.float64]:
        bands_first = np.ascontiguousarray(scaled(self._array, floor).T)
        means: npt.NDArray[np.float64] = bands_first.mean(axis=0, dtype=np.float64)
        return means

    def part(self, start: int, stop: int) -> FloatArray:
        """Returns frames as the device sees them."""
        return self._array[start:stop]


def device_log_mel(samples: FloatArray, filters: FloatArray) -> ArrayFrames:
    """Returns frames on the device."""
    return ArrayFrames(log_mel_frames(samples, filters))


def scaled(levels: FloatArray, floor: float) -> FloatArray:
    """Returns levels as the encoder expects them."""
    found: FloatArray = (np.maximum(levels, np.float32(floor)) + np.float32(4)) * np.float32(0.25)
    return found


def window_of(window: MelWindow, n_frames: int = 3000) -> FloatArray:
    """Returns a window of the device as an array, [n_mels, n_frames]."""
    levels = []
    for part in window.parts:
        assert isinstance(part.frames, ArrayFrames)
        levels.append(part.frames.part(part.start, part.stop))
    stored = np.concatenate(levels)
    silence = np.full((n_frames - len(stored), stored.shape[1]), window.floor, np.float32)
    filled = scaled(np.concatenate([stored, silence]), window.floor)
    filled[window.n_frames :] = 0
    return np.ascontiguousarray(filled.T)


class DeviceMelImplementation(RowImplementation):
    """Rows of an implementation whose mel frames stay on its device."""

    mel_frames_at_once = 1024

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> ArrayFrames:
        return device_log_mel(samples, filters)

    def encode_frames(self, windows: Sequence[MelWindow]) -> ScriptedFeatures:
        return self.encode(np.stack([window_of(window) for window in windows]))
