"""Channels of a recording kept apart: the file is decoded once, then each is read as if alone.

Input is the blocks of all channels, as `open_audio` yields them with channel `split`; output is one
`ChannelAudio` for each. Their samples wait in memory, and in temporary files when they are too many
(64 kB for a second of each). Voices mixed into one channel, or heard in both, are not separated.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import Final

import numpy as np

from maxwhisper_cli.audio.reader import SAMPLE_RATE
from maxwhisper_cli.audio.stream import AudioError, Float32

_MEMORY_BYTES: Final = 64 * 2**20  # of all channels: 8 min 44 s of two
_BLOCK_BYTES: Final = 4 * 65536
_SILENT_PEAK: Final = 2.0**-11
"""Peak of a channel on which nobody speaks: 16 steps of 16 bits, as coded silence has."""


class ChannelAudio:
    """Mono samples of one channel: iterate once over its blocks."""

    def __init__(self, max_memory_bytes: int, resources: ExitStack) -> None:
        self.n_samples = 0
        self.peak = 0.0
        """Largest magnitude of a sample."""
        self._file = resources.enter_context(SpooledTemporaryFile(max_memory_bytes))  # noqa: SIM115

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self.n_samples / SAMPLE_RATE

    @property
    def is_silent(self) -> bool:
        """True if nobody can be heard on it."""
        return self.peak < _SILENT_PEAK

    def append(self, samples: Float32) -> None:
        """Appends `[n_samples]` at 16 kHz."""
        self.n_samples += len(samples)
        self.peak = max(self.peak, float(samples.max(initial=0)), -float(samples.min(initial=0)))
        self._file.write(np.ascontiguousarray(samples).data)

    def __iter__(self) -> Iterator[Float32]:
        """Yields `[n_samples]` blocks at 16 kHz, and drops them at the end."""
        self._file.seek(0)
        while data := self._file.read(_BLOCK_BYTES):
            yield np.frombuffer(data, np.float32)
        self._file.close()


def split_channels(
    blocks: Iterable[Float32], n_channels: int, name: str, resources: ExitStack
) -> list[ChannelAudio]:
    """Reads all blocks, and returns the channels.

    Args:
        blocks: `[n_samples, n_channels]` each, at 16 kHz.
        n_channels: Number of channels.
        name: Name of the recording in messages.
        resources: Closes the channels.

    Raises:
        AudioError: A temporary file cannot be written, or the recording cannot be read on.
    """
    channels = [ChannelAudio(_MEMORY_BYTES // n_channels, resources) for _ in range(n_channels)]
    for block in blocks:
        try:
            for index, channel in enumerate(channels):
                channel.append(block[:, index])
        except OSError as error:
            raise AudioError(
                f"the channels of {name} cannot be kept in temporary files "
                f"({error.strerror or error}): make room, or set TMPDIR to another folder"
            ) from error
    return channels
