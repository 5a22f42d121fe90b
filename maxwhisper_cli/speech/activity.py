"""Voice activity of one recording, computed block by block while it is read.

The frames are read by two LSTMs: one carries its state through the recording, as Silero's does, the
other begins anew every 8 s. The higher of both probabilities counts, since the first one overlooks
soft speech for seconds behind a loud voice or behind noise, to which its state has adapted.

Memory holds one block of frames, and one number for each frame of 32 ms.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from maxwhisper_cli.speech.network import (
    CONTEXT_SAMPLES,
    FRAME_SAMPLES,
    FRAMES_MULTIPLE,
    LstmState,
    VoiceNetwork,
)
from maxwhisper_cli.speech.spans import SAMPLE_RATE, Span, find_spans
from maxwhisper_cli.speech.tiled_matrix import Float32
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from maxwhisper_cli.transcription.vad_options import VadOptions
from weights.dims import HOP_LENGTH

_FRAMES_AT_ONCE = 512
_FRESH_FRAMES = 256
"""Frames after which a second LSTM begins anew, 8 s."""
_MAX_SAMPLE = 1e6
"""Bound on samples, far beyond full scale: the square of their spectrum is still a float32."""


class VoiceActivity:
    """Detector of speech in one recording: `add` its samples in order, then read the rest."""

    def __init__(self, network: VoiceNetwork, options: VadOptions) -> None:
        self._network = network
        self._options = options
        self._state = LstmState()
        self._buffer = np.zeros(CONTEXT_SAMPLES + _FRAMES_AT_ONCE * FRAME_SAMPLES, np.float32)
        self._n_buffered = CONTEXT_SAMPLES
        self._probabilities: list[Float32] = []
        self._n_samples = 0

    def add(self, block: Float32) -> None:
        """Adds mono samples at 16 kHz; computes once there are 512 frames."""
        self._n_samples += len(block)
        rest = block
        while len(rest) > 0:
            n_taken = min(len(rest), len(self._buffer) - self._n_buffered)
            taken = self._buffer[self._n_buffered : self._n_buffered + n_taken]
            np.clip(rest[:n_taken], -_MAX_SAMPLE, _MAX_SAMPLE, out=taken)
            self._n_buffered += n_taken
            rest = rest[n_taken:]
            if self._n_buffered == len(self._buffer):
                self._compute(self._n_buffered)

    def watch(self, blocks: Iterable[Float32], stopwatch: Stopwatch = STOPPED) -> Iterator[Float32]:
        """Yields blocks of samples unchanged, and adds each before it is yielded."""
        for block in blocks:
            with stopwatch.on("speech"):
                self.add(block)
            yield block

    def probabilities(self) -> Float32:
        """Returns the probability of speech in each frame so far, `[n_frames]`.

        The last frame is padded with zeros; nothing may be added afterwards.
        """
        if self._n_buffered > CONTEXT_SAMPLES:
            n_frames = -(-(self._n_buffered - CONTEXT_SAMPLES) // FRAME_SAMPLES)
            n_computed = -(-n_frames // FRAMES_MULTIPLE) * FRAMES_MULTIPLE
            end = CONTEXT_SAMPLES + n_computed * FRAME_SAMPLES
            self._buffer[self._n_buffered : end] = 0
            self._compute(end)
            self._probabilities[-1] = self._probabilities[-1][:n_frames]
        return np.concatenate([np.empty(0, np.float32), *self._probabilities])

    def spans(self) -> list[Span]:
        """Returns the spans of speech in all samples."""
        return find_spans(self.probabilities().tolist(), self._n_samples, self._options)

    def clips(self) -> tuple[tuple[int, int], ...]:
        """Returns what to decode, in mel frames: the spans of speech, and short pauses around them.

        Silence at either end of the recording is left out only if it is as long as a pause between
        spans has to be. A recording without long silence is decoded just as without detection.
        """
        spans = self.spans()
        if spans:
            options = self._options
            bridged = (options.min_silence_ms - options.speech_pad_ms) * SAMPLE_RATE // 1000
            if spans[0].start < bridged:
                spans[0].start = 0
            if self._n_samples - spans[-1].end < bridged:
                spans[-1].end = self._n_samples
        clips = ((span.start // HOP_LENGTH, span.end // HOP_LENGTH) for span in spans)
        return tuple((start, end) for start, end in clips if start < end)

    def _compute(self, end: int) -> None:
        """Computes the frames of the buffer up to `end`, and moves the context to its front."""
        samples = self._buffer[:end]
        inputs = self._network.gate_inputs(samples)
        carried = self._network.probabilities(inputs, self._state)
        fresh = [
            self._network.probabilities(inputs[first : first + _FRESH_FRAMES], LstmState())
            for first in range(0, len(inputs), _FRESH_FRAMES)
        ]
        self._probabilities.append(np.maximum(carried, np.concatenate(fresh)))
        self._buffer[:CONTEXT_SAMPLES] = samples[-CONTEXT_SAMPLES:].copy()
        self._n_buffered = CONTEXT_SAMPLES
