"""Samples of 16 bits, as they are sent between machines: half the size, and the same everywhere."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from maxwhisper_cli.audio.stream import Float32

Int16: TypeAlias = npt.NDArray[np.int16]
_SCALE: Final = np.float32(2**15)


def to_16_bit(samples: Float32) -> Int16:
    """Returns samples rounded to 16 bits; those beyond -1 to 1 are clipped."""
    scaled = np.rint(samples * _SCALE)
    return np.clip(scaled, -_SCALE, _SCALE - 1).astype(np.int16)


def from_16_bit(samples: Int16) -> Float32:
    """Returns samples from -1 to 1, exactly those that were rounded."""
    return samples.astype(np.float32) / _SCALE
