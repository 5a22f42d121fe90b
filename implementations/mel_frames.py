"""Log-mel frames that stay on an implementation's device, and the windows that it encodes of them.

The frames are log10 of band power, as `implementations.log_mel` computes them. Their floor is set
by the loudest frame of the whole recording: it and the scale are applied when a window is encoded.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]


class MelFrames(ABC):
    """Consecutive frames on a device; freed when nothing refers to them."""

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of frames."""

    @property
    @abstractmethod
    def loudest(self) -> float:
        """Highest value of all frames; waits until these are computed."""

    @abstractmethod
    def numpy(self, start: int, stop: int) -> FloatArray:
        """Returns a copy of some frames on the host, [stop - start, n_mels]."""

    @abstractmethod
    def loudness(self, floor: float) -> npt.NDArray[np.float64]:
        """Returns the mean of the scaled bands of each frame, [n_frames].

        Args:
            floor: Least value, before the scale.
        """


@dataclass(frozen=True, slots=True)
class MelPart:
    """Some of the frames that were computed at once."""

    frames: MelFrames
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class MelWindow:
    """Window of 30 s: frames on the device, silence behind the last of them, then zeros."""

    parts: Sequence[MelPart]
    floor: float
    """Least value, before the scale; that of silence."""
    n_frames: int
    """Frames before the zeros."""
