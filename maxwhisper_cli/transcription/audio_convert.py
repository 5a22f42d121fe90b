"""Conversion of FFmpeg's sample formats to 32-bit floats, with one rate and one number of channels.

The scales are those of FFmpeg's own conversion, bit by bit.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import soxr
from av.audio.frame import AudioFrame

from maxwhisper_cli.transcription.audio_stream import Float32

_SILENT_SAMPLES: Final = 65536
_SCALES: Final = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63}


def to_float32(frame: AudioFrame) -> Float32:
    """Returns a frame's samples, `[n_samples, n_channels]`, full scale being -1 to 1."""
    samples = frame.to_ndarray()
    name = frame.format.name
    n_channels = frame.layout.nb_channels
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, n_channels)
    kind = name.removesuffix("p")
    floats = samples.astype(np.float32)
    if kind == "u8":
        floats -= np.float32(128)
    if kind in _SCALES:
        floats *= np.float32(_SCALES[kind])
    return floats


class Converter:
    """Converter of blocks to one rate and number of channels, which a recording may change."""

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self.sample_rate = sample_rate
        self.n_channels = n_channels
        self._rate = sample_rate
        self._resampler: soxr.ResampleStream | None = None

    def convert(self, block: Float32, sample_rate: int) -> Float32:
        """Returns a block, `[n_samples, n_channels]`, in the format of the first."""
        n_channels = block.shape[1]
        if n_channels != self.n_channels:
            mono = block.mean(axis=1, dtype=np.float32, keepdims=True)
            block = np.repeat(mono, self.n_channels, axis=1)
        if sample_rate == self._rate and self._resampler is None:
            return block
        rest = np.empty((0, self.n_channels), np.float32)
        if sample_rate != self._rate:
            rest = self.finish()
            self._rate = sample_rate
            if sample_rate != self.sample_rate:
                self._resampler = soxr.ResampleStream(
                    sample_rate, self.sample_rate, self.n_channels, quality="HQ"
                )
        if self._resampler is not None:
            block = self._resampled(block)
        return np.concatenate([rest, block]) if len(rest) else block

    def finish(self) -> Float32:
        """Returns the buffered samples, and resets the converter."""
        empty = np.empty((0, self.n_channels), np.float32)
        if self._resampler is None:
            return empty
        rest = self._resampled(empty, is_last=True)
        self._resampler, self._rate = None, self.sample_rate
        return rest

    def silence(self, seconds: float) -> Iterator[Float32]:
        """Yields silence, of the first block's rate, in pieces."""
        n_samples = round(seconds * self.sample_rate)
        while n_samples > 0:
            n_now = min(n_samples, _SILENT_SAMPLES)
            yield np.zeros((n_now, self.n_channels), np.float32)
            n_samples -= n_now

    def _resampled(self, block: Float32, *, is_last: bool = False) -> Float32:
        assert self._resampler is not None
        shaped = block if self.n_channels > 1 else block[:, 0]
        return self._resampler.resample_chunk(shaped, last=is_last).reshape(-1, self.n_channels)
