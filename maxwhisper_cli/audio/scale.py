"""Floats that hold integers: some programs write 16-bit samples as floats without dividing."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from maxwhisper_cli.audio.stream import AudioError, Float32, Warn

LOOK_AHEAD_SECONDS: Final = 30
MAX_FULL_SCALE: Final = 256.0
"""Magnitude that floats with a full scale of 1 never reach, and integers often do."""
_MIN_SHARE: Final = 0.01
"""Share of samples beyond it; fewer are damage."""
_INTEGER_BITS: Final = (16, 24, 32)
_HEADROOM: Final = 1.5  # resampling goes beyond full scale


def scale_to_one(
    blocks: Iterator[Float32], sample_rate: int, name: str, warn: Warn
) -> Iterator[Float32]:
    """Yields the blocks, divided by the full scale of integers if they hold integers.

    The first half a minute decides; `refuse_integers` is for blocks that come later.
    """
    ahead: list[Float32] = []
    n_ahead = 0
    for block in blocks:
        ahead.append(block)
        n_ahead += len(block)
        if n_ahead >= LOOK_AHEAD_SECONDS * sample_rate:
            break
    peak = _integer_peak(ahead)
    scale = np.float32(1)
    if peak is not None:
        n_bits = next((n for n in _INTEGER_BITS if peak <= _HEADROOM * 2.0 ** (n - 1)), 32)
        scale = np.float32(2.0 ** (1 - n_bits))
        warn(
            f"{name}: its samples go up to {peak:,.0f}, as integers of {n_bits} bits do; "
            "they were divided by their full scale"
        )
    for block in ahead:
        yield block if peak is None else _scaled(block, scale)
    ahead.clear()
    for block in blocks:
        yield block if peak is None else _scaled(block, scale)


def refuse_integers(block: Float32, name: str) -> None:
    """Checks a later block with samples beyond `MAX_FULL_SCALE`.

    Raises:
        AudioError: Its samples are integers.
    """
    if _integer_peak([block]) is not None:
        raise AudioError(
            f"{name} has samples far beyond full scale, as integers are: "
            "save it with floats from -1 to 1"
        )


def _scaled(block: Float32, scale: np.float32) -> Float32:
    with np.errstate(invalid="ignore"):  # what is no number stays none
        return block * scale


def _integer_peak(blocks: list[Float32]) -> float | None:
    """Returns the largest magnitude if the samples are integers, else None."""
    n_loud = 0
    peak = 0.0
    for block in blocks:
        if -MAX_FULL_SCALE <= block.min(initial=0) <= block.max(initial=0) <= MAX_FULL_SCALE:
            continue
        magnitude = np.abs(block)
        is_loud = (magnitude > MAX_FULL_SCALE) & (magnitude <= _HEADROOM * 2.0**31)
        n_loud += int(np.count_nonzero(is_loud))
        peak = max(peak, float(magnitude.max(initial=0, where=is_loud)))
    if not n_loud:
        return None
    n_samples = sum(int(np.count_nonzero(block)) for block in blocks)
    return peak if n_loud >= _MIN_SHARE * n_samples else None
