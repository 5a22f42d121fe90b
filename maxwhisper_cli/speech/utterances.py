"""Utterances in live audio: where speech begins, and where a pause ends it, as soon as that shows.

The probabilities are those of `activity`, frame by frame without a look ahead. Silero's rules say
where speech begins and ends; splitting of long speech is left to the caller. Nothing is decoded.
"""

from dataclasses import dataclass

import numpy as np

from maxwhisper_cli.speech.network import (
    CONTEXT_SAMPLES,
    FRAME_SAMPLES,
    FRAMES_MULTIPLE,
    LstmState,
    VoiceNetwork,
)
from maxwhisper_cli.speech.spans import SAMPLE_RATE
from maxwhisper_cli.speech.tiled_matrix import Float32
from maxwhisper_cli.transcription.vad_options import VadOptions

_FRESH_FRAMES = 256
"""Frames after which the second LSTM begins anew, 8 s."""
_MAX_SAMPLE = 1e6


@dataclass(frozen=True, slots=True)
class Edge:
    """Beginning or end of an utterance, in samples of the audio; padding included."""

    at: int
    is_start: bool


class UtteranceFinder:
    """Detector of utterances in one stream of samples at 16 kHz."""

    def __init__(self, network: VoiceNetwork, options: VadOptions) -> None:
        self._network = network
        self._options = options
        self._state, self._fresh = LstmState(), LstmState()
        self._rest = np.zeros(CONTEXT_SAMPLES, np.float32)
        """The last samples before the next frame, and those of it that are here."""
        self._n_frames = 0
        self._start: int | None = None
        self._is_confirmed = False
        self._pause_start: int | None = None
        self._last_end = 0

    @property
    def is_speech(self) -> bool:
        """True within an utterance."""
        return self._is_confirmed

    def add(self, block: Float32) -> list[Edge]:
        """Adds samples; returns the edges that show by now, in order."""
        samples = np.concatenate([self._rest, np.clip(block, -_MAX_SAMPLE, _MAX_SAMPLE)])
        n_frames = (len(samples) - CONTEXT_SAMPLES) // FRAME_SAMPLES
        if n_frames <= 0:
            self._rest = samples
            return []
        n_read = n_frames * FRAME_SAMPLES
        edges: list[Edge] = []
        for probability in self._probabilities(samples[: CONTEXT_SAMPLES + n_read], n_frames):
            edges += self._take(self._n_frames * FRAME_SAMPLES, probability)
            self._n_frames += 1
        self._rest = samples[n_read:].copy()
        return edges

    def end(self) -> list[Edge]:
        """Ends an utterance that lasts, as if a pause began now."""
        at = self._n_frames * FRAME_SAMPLES + len(self._rest) - CONTEXT_SAMPLES
        was_confirmed = self._is_confirmed
        self._start, self._pause_start, self._is_confirmed = None, None, False
        self._last_end = at
        return [Edge(at, is_start=False)] if was_confirmed else []

    def _probabilities(self, samples: Float32, n_frames: int) -> list[float]:
        """[64 + 512 n_frames] -> the higher probability of both LSTMs for each frame."""
        n_padded = -n_frames % FRAMES_MULTIPLE * FRAME_SAMPLES
        padded = np.concatenate([samples, np.zeros(n_padded, np.float32)])
        inputs = self._network.gate_inputs(padded)[:n_frames]
        carried = self._network.probabilities(inputs, self._state)
        fresh: list[Float32] = []
        first = 0
        while first < n_frames:
            age = (self._n_frames + first) % _FRESH_FRAMES
            if age == 0:
                self._fresh = LstmState()
            last = min(n_frames, first + _FRESH_FRAMES - age)
            fresh.append(self._network.probabilities(inputs[first:last], self._fresh))
            first = last
        higher: list[float] = np.maximum(carried, np.concatenate(fresh)).tolist()
        return higher

    def _take(self, at: int, probability: float) -> list[Edge]:
        """Takes the frame that begins at sample `at`; returns the edge that it shows, if any."""
        options, frame_end = self._options, at + FRAME_SAMPLES
        if probability >= options.threshold:
            self._pause_start = None
            self._start = at if self._start is None else self._start
        if self._start is None:
            return []
        if probability < options.end_threshold and self._pause_start is None:
            self._pause_start = at
        if self._pause_start is None:
            if self._is_confirmed or frame_end - self._start <= _samples(options.min_speech_ms):
                return []
            self._is_confirmed = True
            start = max(self._last_end, self._start - _samples(options.speech_pad_ms))
            return [Edge(start, is_start=True)]
        if frame_end - self._pause_start < _samples(options.min_silence_ms):
            return []
        end = min(self._pause_start + _samples(options.speech_pad_ms), frame_end)
        was_confirmed = self._is_confirmed
        self._start, self._pause_start, self._is_confirmed = None, None, False
        if not was_confirmed:
            return []
        self._last_end = end
        return [Edge(end, is_start=False)]


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000
