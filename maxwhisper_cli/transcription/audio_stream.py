"""Types of decoded audio: the stream of samples, its warnings and its error."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weights.errors import MaxWhisperError

Float32 = npt.NDArray[np.float32]
Warn = Callable[[str], None]
"""Callback with a message about missing or damaged audio."""


class AudioError(MaxWhisperError):
    """A file, stream or array has no readable audio."""


@dataclass(frozen=True, slots=True)
class DecodedStream:
    """Samples of a file that is being decoded."""

    sample_rate: int
    n_channels: int
    seconds: float | None
    """Length that the file announces; None if it announces none."""
    blocks: Iterator[Float32]
    """Samples in order, `[n_samples, n_channels]` each, with a full scale of -1 to 1."""
    close: Callable[[], None]
