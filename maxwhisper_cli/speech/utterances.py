"""Utterances in live audio: where speech begins, and where a pause ends it, as soon as that shows.

The probabilities are those of `activity`, frame by frame without a look ahead. Silero's rules say
where speech begins and ends; splitting of long speech is left to the caller. Nothing is decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maxwhisper_cli.speech.network import (
    CONTEXT_SAMPLES,
    FRAME_SAMPLES,
    FRAMES_MULTIPLE,
    LstmState,
    StreamFrames,
    VoiceNetwork,
    frames_of,
)
from maxwhisper_cli.speech.pause_level import PauseLevel, levels_of
from maxwhisper_cli.speech.spans import SAMPLE_RATE
from maxwhisper_cli.speech.tiled_matrix import Float32
from maxwhisper_cli.transcription.vad_options import VadOptions

_FRESH_FRAMES = 256
"""Frames after which the second LSTM begins anew, 8 s."""
_MAX_SAMPLE = 1e6
_MAX_LOUD_SAMPLES = 2 * SAMPLE_RATE
"""Longest time by which a pause that is loud is believed later; it may be music, after all."""


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
        self._level = PauseLevel()

    @property
    def is_speech(self) -> bool:
        """True within an utterance."""
        return self._is_confirmed

    def add(self, block: Float32) -> list[Edge]:
        """Adds samples; returns the edges that show by now, in order."""
        return add_together([self], [block])[0]

    def end(self) -> list[Edge]:
        """Ends an utterance that lasts, as if a pause began now."""
        at = self._n_frames * FRAME_SAMPLES + len(self._rest) - CONTEXT_SAMPLES
        was_confirmed = self._is_confirmed
        self._start, self._pause_start, self._is_confirmed = None, None, False
        self._last_end = at
        return [Edge(at, is_start=False)] if was_confirmed else []

    def _next_frames(self, block: Float32) -> Float32:
        """Adds samples -> [n_frames, 576], the frames that are whole by now."""
        samples = np.concatenate([self._rest, np.clip(block, -_MAX_SAMPLE, _MAX_SAMPLE)])
        n_read = (len(samples) - CONTEXT_SAMPLES) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = samples[n_read:].copy()
        return frames_of(samples[: CONTEXT_SAMPLES + n_read])

    def _streams(self, inputs: Float32) -> tuple[StreamFrames, StreamFrames]:
        """[n_frames, 512], at most 256 frames -> those of both LSTMs."""
        until_fresh = -self._n_frames % _FRESH_FRAMES
        return (
            StreamFrames(inputs, self._state),
            StreamFrames(inputs, self._fresh, until_fresh),
        )

    def _take_all(self, probabilities: Float32, levels: Sequence[float]) -> list[Edge]:
        edges: list[Edge] = []
        for probability, level in zip(probabilities.tolist(), levels, strict=True):
            edges += self._take(self._n_frames * FRAME_SAMPLES, probability, level)
            self._n_frames += 1
        return edges

    def _take(self, at: int, probability: float, level: float) -> list[Edge]:
        """Takes the frame that begins at sample `at`; returns the edge that it shows, if any."""
        options, frame_end = self._options, at + FRAME_SAMPLES
        if probability >= options.threshold:
            self._pause_start = None
            self._start = at if self._start is None else self._start
        if self._start is None:
            return []
        self._level.add(level)
        if probability < options.end_threshold and self._pause_start is None:
            self._pause_start = at
            self._level.begin()
        if self._pause_start is None:
            if self._is_confirmed or frame_end - self._start <= _samples(options.min_speech_ms):
                return []
            self._is_confirmed = True
            start = max(self._last_end, self._start - _samples(options.speech_pad_ms))
            return [Edge(start, is_start=True)]
        pause = frame_end - self._pause_start - _samples(options.min_silence_ms)
        if pause < 0 or (pause < _MAX_LOUD_SAMPLES and self._level.is_loud):
            return []
        spoken_until = self._pause_start + self._level.last_loud * FRAME_SAMPLES
        end = min(spoken_until + _samples(options.speech_pad_ms), frame_end)
        was_confirmed = self._is_confirmed
        self._start, self._pause_start, self._is_confirmed = None, None, False
        if not was_confirmed:
            return []
        self._last_end = end
        return [Edge(end, is_start=False)]


def add_together(finders: Sequence[UtteranceFinder], blocks: Sequence[Float32]) -> list[list[Edge]]:
    """Adds samples to streams that share a network; returns the edges of each, as `add` does.

    What a stream shows does not depend on the others.
    """
    if not finders:
        return []
    frames = [finder._next_frames(block) for finder, block in zip(finders, blocks, strict=True)]
    counts = [len(each) for each in frames]
    edges: list[list[Edge]] = [[] for _ in finders]
    if not any(counts):
        return edges
    n_padded = -sum(counts) % FRAMES_MULTIPLE
    padding = np.zeros((n_padded, CONTEXT_SAMPLES + FRAME_SAMPLES), np.float32)
    network = finders[0]._network
    joined = np.concatenate([*frames, padding])
    levels = levels_of(joined[:, CONTEXT_SAMPLES:])
    every = network.gate_inputs_of(joined)
    starts = [0, *np.cumsum(counts).tolist()]
    inputs = [every[start : start + n] for start, n in zip(starts, counts, strict=False)]
    for first in range(0, max(counts), _FRESH_FRAMES):
        chosen = [index for index, count in enumerate(counts) if count > first]
        parts = [inputs[index][first : first + _FRESH_FRAMES] for index in chosen]
        streams = [
            stream
            for index, part in zip(chosen, parts, strict=True)
            for stream in finders[index]._streams(part)
        ]
        found = network.probabilities_together(streams)
        for index, carried, fresh in zip(chosen, found[::2], found[1::2], strict=True):
            begin = starts[index] + first
            part = levels[begin : begin + len(carried)]
            edges[index] += finders[index]._take_all(np.maximum(carried, fresh), part)
    return edges


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000
