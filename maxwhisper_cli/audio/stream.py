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


class CutError(Exception):
    """A span of a recording is not as its index says; the recording is to be read in one pass."""


@dataclass(frozen=True, slots=True)
class Cuttable:
    """Recording whose samples can be read from anywhere, by several threads at once."""

    n_samples: int
    read: Callable[[int, int], Iterator[Float32]]
    """Yields the samples from a start to before an end, as `DecodedStream.blocks` does.

    They are those of one pass. Raises CutError where anything is unusual.
    """


def not_cuttable() -> Cuttable | None:
    """Returns None: the recording can be read in one pass only."""
    return None


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
    cuttable: Callable[[], Cuttable | None] = not_cuttable
    """Returns the same recording to be read in spans; None if that is not safe."""
    is_costly: bool = False
    """True if decoding costs more than what follows, so that a thread of its own pays."""
