"""Choice of channels: a column of a block of samples, all of them, or their mean."""

from typing import Literal

import numpy as np

from maxwhisper_cli.audio.stream import AudioError, Float32

Channel = Literal["mix", "left", "right", "split"] | int
"""Mean of all channels, one of them, or all of them apart; left is 1 and right is 2."""


def columns_of(channel: Channel, n_channels: int, name: str) -> int | slice | None:
    """Returns the column of the channel, None for the mean of all, or a slice of all.

    Raises:
        AudioError: There is no such channel, or a single one to split.
    """
    if channel == "split":
        if n_channels == 1:
            raise AudioError(f"{name} has 1 channel, which cannot be split: choose channel 'mix'")
        return slice(None)
    if channel == "mix":
        return 0 if n_channels == 1 else None
    number = {"left": 1, "right": 2}.get(channel) if isinstance(channel, str) else channel
    if number is None or not 1 <= number <= n_channels:
        count = "1 channel" if n_channels == 1 else f"{n_channels} channels"
        raise AudioError(
            f"{name} has {count}, and no channel {channel!r}: "
            f"choose 'mix' or a number from 1 to {n_channels}"
        )
    return number - 1


def select(block: Float32, columns: int | slice | None) -> Float32:
    """Returns one column of `[n_samples, n_channels]`, several, or the mean of all for None."""
    if columns is not None:
        return np.ascontiguousarray(block[:, columns])
    if block.shape[1] != 2:
        return block.mean(axis=1, dtype=np.float32)
    mean = block[:, 0] + block[:, 1]  # the same numbers; numpy is slow on short rows
    mean *= np.float32(0.5)
    return mean
