"""Log-mel frames of recordings on a GPU: computed there, kept, and gathered into windows."""

import threading
from collections.abc import Sequence
from functools import cached_property
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
from max.driver import Buffer, Usage, batch_inplace_copy
from max.dtype import DType
from max.engine import Model

from implementations.max_graph.gpu.load import GpuGraphs
from implementations.mel_frames import MelFrames, MelWindow
from implementations.session import FloatArray


class GpuMelFrames(MelFrames):
    """Frames in a buffer [n_frames, n_mels] of the device."""

    def __init__(
        self, buffer: Buffer, peaks: Buffer, loudness: Model, lock: threading.RLock
    ) -> None:
        """Stores what was computed.

        Args:
            buffer: Log10 of band power, [n_frames, n_mels].
            peaks: Highest values of blocks of frames, in memory of the host to which the device
                is still to copy them.
            loudness: The graph `mel_loudness`.
            lock: Lock under which graphs run.
        """
        self.buffer = buffer
        self._peaks = peaks
        self._loudness = loudness
        self._lock = lock

    def __len__(self) -> int:
        return int(self.buffer.shape[0])

    @cached_property
    def loudest(self) -> float:
        """Highest value; waits for the device."""
        return float(self._peaks.to_numpy().max())

    def numpy(self, start: int, stop: int) -> FloatArray:
        """Returns a copy of some frames, [stop - start, n_mels]."""
        with self._lock:
            array: FloatArray = self.buffer[start:stop, :].to_numpy()
        return array

    def loudness(self, floor: float) -> npt.NDArray[np.float64]:
        """Returns the mean of the scaled bands of each frame, [n_frames]."""
        lowest = Buffer.from_numpy(np.array([floor], np.float32))
        with self._lock:
            (means,) = self._loudness.execute(self.buffer, lowest.to(self.buffer.device))
            array: npt.NDArray[np.float64] = means.to_numpy()
        return array


class GpuMel:
    """Graphs of a GPU for log-mel frames, and the memory that frames may take there."""

    def __init__(self, graphs: GpuGraphs, lock: threading.RLock) -> None:
        """Allocates nothing.

        Args:
            graphs: All graphs.
            lock: Lock under which they run.
        """
        self._models = graphs.models
        self._n_mels = graphs.dims.n_mels
        self._device = graphs.device
        self._lock = lock
        self._max_bytes = graphs.budget.mel_bytes
        """Bytes of all frames that are kept on the device at a time."""
        self._kept: WeakSet[GpuMelFrames] = WeakSet()

    def frames(self, samples: FloatArray, filters: Buffer) -> FloatArray | GpuMelFrames:
        """[n_samples], [n_mels, 201] -> log10 band power; on the host if memory does not suffice.

        Does not wait for the device in the first case.
        """
        on_host = Buffer.from_numpy(np.require(samples, np.float32, ["C", "W"]))
        with self._lock:
            frames, peaks = self._models["log_mel"].execute(on_host.to(self._device), filters)
            if self._n_bytes() + _n_bytes(frames) > self._max_bytes:
                array: FloatArray = frames.to_numpy()
                return array
            staged = Buffer(peaks.dtype, peaks.shape, device=self._device, usage=Usage.STAGING)
            staged.inplace_copy_from(peaks)
            kept = GpuMelFrames(frames, staged, self._models["mel_loudness"], self._lock)
            self._kept.add(kept)
            return kept

    def windows(self, windows: Sequence[MelWindow], n_frames: int) -> Buffer:
        """Returns windows as the encoder reads them, [n_windows, n_mels, n_frames].

        The caller holds the lock.
        """
        gathered = Buffer(DType.float32, (len(windows) * n_frames, self._n_mels), self._device)
        targets, sources = [], []
        counts = np.zeros((len(windows), 2), np.int32)
        for i, window in enumerate(windows):
            at = i * n_frames
            for part in window.parts:
                assert isinstance(part.frames, GpuMelFrames), "frames of another implementation"
                targets.append(gathered[at : at + len(part), :])
                sources.append(part.frames.buffer[part.start : part.stop, :])
                at += len(part)
            counts[i] = at - i * n_frames, window.n_frames
        if targets:
            batch_inplace_copy(targets, sources)
        floors = np.array([window.floor for window in windows], np.float32)
        inputs = (Buffer.from_numpy(array).to(self._device) for array in (floors, counts))
        (scaled,) = self._models["mel_windows"].execute(gathered, *inputs)
        return scaled

    def _n_bytes(self) -> int:
        return sum(_n_bytes(each.buffer) for each in self._kept)


def _n_bytes(buffer: Buffer) -> int:
    return int(buffer.num_elements) * 4
