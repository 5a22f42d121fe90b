"""Conversion of FFmpeg's sample formats to 32-bit floats, with one rate and one number of channels.

The scales are those of FFmpeg's own conversion, bit by bit.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import soxr
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from maxwhisper_cli.audio.stream import Float32

MIN_UNSAFE_PLANES: Final = 8
"""PyAV counts planes up to a null pointer, which the eighth of FFmpeg's has not behind it."""
_SILENT_SAMPLES: Final = 65536
_DTYPES: Final = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}
"""Types of FFmpeg's sample formats that PyAV knows, in the byte order of the machine."""
_SCALES: Final = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63}


class Unpacker:
    """Turns frames into arrays."""

    def __init__(self) -> None:
        self._interleave: AudioResampler | None = None
        self._interleaves: tuple[str, str, int] | None = None

    def to_float32(self, frame: AudioFrame) -> Float32:
        """Returns a frame's samples, `[n_samples, n_channels]`, full scale being -1 to 1."""
        n_channels = frame.layout.nb_channels
        if frame.format.is_planar and n_channels >= MIN_UNSAFE_PLANES:
            frames = self._interleaved(frame)
            pieces = [_to_float32(each, n_channels) for each in frames]
            return np.concatenate([np.empty((0, n_channels), np.float32), *pieces])
        return _to_float32(frame, n_channels)

    def _interleaved(self, frame: AudioFrame) -> list[AudioFrame]:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._interleave is None or kind != self._interleaves:
            self._interleave = AudioResampler("flt", frame.layout, frame.sample_rate)
            self._interleaves = kind
        frame.pts = None
        return self._interleave.resample(frame)


def _to_float32(frame: AudioFrame, n_channels: int) -> Float32:
    """Converts each plane in one pass; PyAV's own array would be one more copy."""
    kind = frame.format.name.removesuffix("p")
    dtype, n_samples = _DTYPES.get(kind), frame.samples
    planes: Any = frame.planes  # buffers, whatever PyAV's types say
    if dtype is None:
        floats = frame.to_ndarray().astype(np.float32)  # or its error
        floats = floats.T if frame.format.is_planar else floats.reshape(-1, n_channels)
    elif frame.format.is_planar:
        rows = np.empty((n_channels, n_samples), np.float32)
        for row, plane in zip(rows, planes, strict=False):
            row[:] = np.frombuffer(plane, dtype, n_samples)
        floats = rows.T
    else:
        packed = np.frombuffer(planes[0], dtype, n_samples * n_channels)
        floats = packed.astype(np.float32).reshape(-1, n_channels)
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

    def is_idle(self, sample_rate: int) -> bool:
        """Returns True if blocks of a rate pass unchanged, apart from their channels."""
        return sample_rate == self._rate and self._resampler is None

    def convert(self, block: Float32, sample_rate: int) -> Float32:
        """Returns a block, `[n_samples, n_channels]`, in the format of the first."""
        n_channels = block.shape[1]
        if n_channels != self.n_channels:
            mono = block.mean(axis=1, dtype=np.float32, keepdims=True)
            block = np.repeat(mono, self.n_channels, axis=1)
        if self.is_idle(sample_rate):
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
