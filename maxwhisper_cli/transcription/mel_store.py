"""Frames of one recording in the arrays in which they were computed, or in a temporary file.

The arrays are on the host or on an implementation's device. The host's move to a file when they are
too many for memory, and with them all others. It knows nothing of what frames mean.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

import numpy as np
import numpy.typing as npt

from implementations.mel_frames import MelFrames, MelPart
from weights.closing import Closing
from weights.errors import MaxWhisperError

_MEMORY_BYTES = 256 * 2**20  # 2 h 19 min at 80 bands; what is longer goes to a temporary file

Float32 = npt.NDArray[np.float32]


class MelStore(Closing):
    """Frames `[n_frames, n_mels]` that are appended, then read, from any thread."""

    def __init__(self, n_mels: int) -> None:
        """Makes an empty store."""
        self._n_mels = n_mels
        self._lock = Lock()
        self._arrays: list[Float32 | MelFrames] = []
        self._starts: list[int] = []
        """First frame of each array."""
        self._n_frames = 0
        self._n_host_frames = 0
        self._loudest = -np.inf
        self._file: IO[bytes] | None = None
        """File of all frames, once those of the host are too many for memory."""

    def __len__(self) -> int:
        return self._n_frames

    @property
    def loudest(self) -> float:
        """Highest value of all frames, minus infinity without any; waits for the device."""
        on_device = [each.loudest for each in self._arrays if isinstance(each, MelFrames)]
        return max(self._loudest, *on_device) if on_device else self._loudest

    @property
    def on_device(self) -> Sequence[MelFrames]:
        """All frames if they are on a device, or none."""
        stored = [each for each in self._arrays if isinstance(each, MelFrames)]
        return stored if len(stored) == len(self._arrays) else ()

    def append(self, frames: Float32 | MelFrames) -> None:
        """Appends frames, in memory as long as those of the host fit there.

        Raises:
            MaxWhisperError: The temporary file cannot be written.
        """
        if isinstance(frames, MelFrames):
            if self._file is None:
                self._keep(frames)
                return
            self._loudest = max(self._loudest, frames.loudest)
            frames = frames.numpy(0, len(frames))
        frames = np.ascontiguousarray(frames)
        self._loudest = max(self._loudest, float(frames.max()))
        self._n_host_frames += len(frames)
        if self._file is None and self._n_host_frames * self._n_mels * 4 <= _MEMORY_BYTES:
            self._keep(frames)
            return
        try:
            self._write_to_file(frames)
        except OSError as error:
            raise MaxWhisperError(
                "the spectrogram of so long a recording needs a temporary file, which cannot "
                f"be written ({error.strerror or error}): set TMPDIR to another folder"
            ) from error
        self._n_frames += len(frames)

    def parts(self, start: int, stop: int) -> Iterator[Float32 | MelPart]:
        """Yields the arrays' parts from frame `start` to before `stop`; none that is in a file."""
        stop = min(stop, self._n_frames)
        index = bisect_right(self._starts, start) - 1
        while self._arrays and start < stop:
            stored, first = self._arrays[index], start - self._starts[index]
            last = min(len(stored), first + stop - start)
            if isinstance(stored, MelFrames):
                yield MelPart(stored, first, last)
            else:
                yield stored[first:last]
            start += last - first
            index += 1

    def read(self, start: int, stop: int) -> Iterator[Float32]:
        """Yields the frames from `start` to before `stop` on the host.

        Raises:
            MaxWhisperError: The temporary file cannot be read.
        """
        stop = min(stop, self._n_frames)
        if self._file is not None and start < stop:
            try:
                with self._lock:
                    self._file.seek(start * self._n_mels * 4)
                    data = self._file.read((stop - start) * self._n_mels * 4)
            except OSError as error:
                raise MaxWhisperError(
                    "the temporary file of a long recording's spectrogram cannot be read "
                    f"({error.strerror or error}): set TMPDIR to another folder"
                ) from error
            yield np.frombuffer(data, np.float32).reshape(-1, self._n_mels)
            return
        for part in self.parts(start, stop):
            yield part.frames.numpy(part.start, part.stop) if isinstance(part, MelPart) else part

    def close(self) -> None:
        """Drops the frames and their temporary file."""
        self._arrays, self._starts = [], []
        if self._file is not None:
            self._file.close()

    def _keep(self, frames: Float32 | MelFrames) -> None:
        self._arrays.append(frames)
        self._starts.append(self._n_frames)
        self._n_frames += len(frames)

    def _write_to_file(self, frames: Float32) -> None:
        """Appends frames to the file, after all those before them."""
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 - closed by close()
            self._loudest = self.loudest
            for stored in self._arrays:
                on_host = stored.numpy(0, len(stored)) if isinstance(stored, MelFrames) else stored
                self._file.write(on_host.data)
            self._arrays, self._starts = [], []
        self._file.write(frames.data)
