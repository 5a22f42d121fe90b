"""Samples of live audio that are still needed, and their mel frames for the encoder.

Frames are computed once, as soon as all of their samples are here. Only the last frames of a window
lack samples: silence stands in for these. Frames of half a second are computed on the processor:
asking a GPU for them takes longer. Nothing is decoded.
"""

from typing import Final

import numpy as np

from implementations.log_mel import log_mel_frames
from maxwhisper_cli.transcription.mel import Float32
from maxwhisper_cli.transcription.upstream import mel_filters
from weights.dims import HOP_LENGTH, N_FFT

_HALF: Final = N_FFT // 2
_DYNAMIC_RANGE: Final = np.float32(8.0)


class SampleBuffer:
    """The latest samples of a stream; places are counted from its beginning."""

    def __init__(self) -> None:
        self._memory = np.zeros(0, np.float32)
        self._n_stored = 0
        self.start = 0
        """Place of the first sample that is stored."""

    @property
    def end(self) -> int:
        """Place behind the last sample."""
        return self.start + self._n_stored

    def append(self, block: Float32) -> None:
        """Adds samples; they are moved only where the memory does not suffice."""
        n_stored = self._n_stored + len(block)
        if n_stored > len(self._memory):
            memory = np.empty(max(n_stored, 2 * len(self._memory)), np.float32)
            memory[: self._n_stored] = self._memory[: self._n_stored]
            self._memory = memory
        self._memory[self._n_stored : n_stored] = block
        self._n_stored = n_stored

    def drop_before(self, at: int) -> None:
        """Forgets samples before a place."""
        if at > self.start:
            self._memory = self._memory[at - self.start : self._n_stored].copy()
            self._n_stored, self.start = len(self._memory), at

    def between(self, start: int, end: int) -> Float32:
        """Returns samples; silence where they are not stored."""
        samples = np.zeros(end - start, np.float32)
        first, last = max(start, self.start), min(end, self.end)
        if first < last:
            stored = self._memory[first - self.start : last - self.start]
            samples[first - start : last - start] = stored
        return samples


class LiveSpectrogram:
    """Mel frames of a buffer from a place on; the place moves forward as text becomes final."""

    def __init__(self, samples: SampleBuffer, n_mels: int) -> None:
        """Begins where the stream begins.

        Args:
            samples: The stream.
            n_mels: Mel bands.
        """
        self.start = 0
        """Place of the first frame's centre, in samples."""
        self._samples = samples
        self._filters = mel_filters(n_mels)
        self._frames = np.zeros((0, n_mels), np.float32)
        """Frames of which all samples are here, [n_frames, n_mels]."""

    def trim(self, at: int) -> None:
        """Moves the start forward, to the frame at or before a place."""
        n_frames = max(0, (at - self.start) // HOP_LENGTH)
        self._frames = self._frames[n_frames:].copy()
        self.start += n_frames * HOP_LENGTH
        self._samples.drop_before(self.start - _HALF)

    def fill(self, end: int, window: Float32) -> None:
        """Writes the frames up to a place, with zeros behind them, as the encoder expects them.

        Args:
            end: Place behind the last sample.
            window: [n_mels, n_frames]; frames of the audio are at most so many.
        """
        n_audio = min(window.shape[1], (end - self.start) // HOP_LENGTH)
        self._store_complete(min(n_audio, (end - self.start - _HALF) // HOP_LENGTH + 1))
        log_spec = self._frames[:n_audio]
        if len(log_spec) < n_audio:
            log_spec = np.concatenate([log_spec, self._compute(len(log_spec), n_audio, end)])
        window[:, n_audio:] = 0
        if n_audio > 0:
            scaled = np.maximum(log_spec, log_spec.max() - _DYNAMIC_RANGE)
            scaled += np.float32(4)
            scaled *= np.float32(0.25)
            window[:, :n_audio] = scaled.T

    def _store_complete(self, n_frames: int) -> None:
        if n_frames > len(self._frames):
            added = self._compute(len(self._frames), n_frames, None)
            self._frames = np.concatenate([self._frames, added])

    def _compute(self, first: int, last: int, end: int | None) -> Float32:
        """Computes frames; samples from `end` on count as silence."""
        begin = self.start + first * HOP_LENGTH - _HALF
        stop = self.start + (last - 1) * HOP_LENGTH + _HALF
        samples = self._samples.between(begin, stop)
        if end is not None and end < stop:
            samples[end - begin :] = 0
        return log_mel_frames(samples, self._filters)
