"""Mono samples in memory as a stream, as if they had been decoded."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from maxwhisper_cli.audio.spans import SAMPLE_RATE
from maxwhisper_cli.audio.stream import AudioError, DecodedStream

MAX_RATE: Final = 10_000_000
"""Samples per second; recorders of ultrasound take some millions."""
_BLOCK_SAMPLES: Final = 65536


def from_samples(samples: npt.NDArray[np.floating], sample_rate: float | None) -> DecodedStream:
    """Returns mono samples as a stream of blocks.

    Args:
        samples: `[n_samples]` floats with a full scale of -1 to 1.
        sample_rate: Their rate in Hz; None is 16 kHz.

    Raises:
        AudioError: The rate is no number of samples per second.
    """
    rate = SAMPLE_RATE if sample_rate is None else _checked_rate(sample_rate)
    blocks = (
        samples[start : start + _BLOCK_SAMPLES, np.newaxis].astype(np.float32, copy=False)
        for start in range(0, len(samples), _BLOCK_SAMPLES)
    )
    return DecodedStream(rate, 1, len(samples) / rate, blocks, lambda: None)


def _checked_rate(sample_rate: float) -> int:
    try:
        rate = float(sample_rate)
    except (TypeError, ValueError):
        rate = math.nan
    if not (1 <= rate <= MAX_RATE) or isinstance(sample_rate, str | bool):
        raise AudioError(
            f"sample_rate is a number of samples per second, 1 to {MAX_RATE}, not {sample_rate!r}"
        )
    return round(rate)
