"""Times an implementation from outside: encoder and decoder apart, so that none needs to know."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from implementations.base import (
    Alignment,
    AudioFeatures,
    DecoderSession,
    FloatArray,
    Heads,
    Implementation,
    LoadOptions,
)
from implementations.decoding.request import DecodedWindow, DecodeRequest
from weights.checkpoint import Checkpoint


@dataclass(slots=True)
class Clock:
    """Time and work counted so far."""

    encode_seconds: float = 0.0
    n_windows: int = 0
    decode_seconds: float = 0.0
    n_passes: int = 0
    """Decoder passes: one over the prompt of each window, and one for each further token."""


class TimedImplementation(Implementation):
    """Does what another implementation does, and keeps a clock."""

    name: ClassVar[str] = "timed"

    def __init__(self, timed: Implementation) -> None:
        self.dims, self.device, self.dtype = timed.dims, timed.device, timed.dtype
        self.clock = Clock()
        self._timed = timed

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Never used: what is timed is loaded already."""
        raise NotImplementedError

    def encode(self, mel: FloatArray) -> AudioFeatures:
        """Encode, until the device has finished."""
        begin = time.perf_counter()
        features = self._timed.encode(mel)
        self._timed.wait()
        self.clock.encode_seconds += time.perf_counter() - begin
        self.clock.n_windows += len(mel)
        return features

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        """Decode a window; its result is on the host, so the device has finished."""
        begin = time.perf_counter()
        window = self._timed.decode(audio_features, request)
        self.clock.decode_seconds += time.perf_counter() - begin
        self.clock.n_passes += 1 + window.n_steps
        return window

    def start(self, audio_features: AudioFeatures, n_group: int) -> DecoderSession:
        """Open a session, untimed."""
        return self._timed.start(audio_features, n_group)

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray:
        """Compute log-mel frames, untimed."""
        return self._timed.log_mel(samples, filters)

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """The weights of what is timed."""
        return self._timed.weights()

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """Trace, untimed."""
        return self._timed.trace_encoder(mel)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Align, untimed."""
        return self._timed.align(audio_features, tokens, heads)

    def wait(self) -> None:
        """Wait for the device of what is timed."""
        self._timed.wait()

    def close(self) -> None:
        """Free what is timed."""
        self._timed.close()
