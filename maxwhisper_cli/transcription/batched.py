"""Several windows at a time: the recording is cut every 30 s, whatever is said there.

Faster where an implementation decodes many windows at once, and for that less exact: no window is
shown the text before it, and a word may be cut in two. Source of the idea: faster-whisper's batched
pipeline, which cuts where nobody speaks; here nothing looks for speech.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from implementations.base import Implementation
from maxwhisper_cli.transcription.fallback import (
    WindowText,
    decode_with_fallback,
    judge,
    needs_fallback,
)
from maxwhisper_cli.transcription.longform import DecodedPart, TranscriptionRun
from maxwhisper_cli.transcription.mel import N_FRAMES, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from maxwhisper_cli.transcription.timestamps import WindowPlace, split_lone_window


class BatchedRun(TranscriptionRun):
    """As `TranscriptionRun`, with `batch_size` windows decoded together."""

    def parts(self) -> Iterator[DecodedPart]:
        """Decode batch after batch; a first part without segments tells length and language."""
        yield DecodedPart((), self._progress(0))
        prompt = self._history.prompt()
        places = [
            self._place(seek, clip_end)
            for clip_start, clip_end in self._clips()
            for seek in range(clip_start, clip_end, N_FRAMES)
        ]
        for first in range(0, len(places), self._options.batch_size):
            batch = places[first : first + self._options.batch_size]
            for place, window in zip(batch, self._decode(batch, prompt), strict=True):
                segments = []
                if not window.is_silence(self._options):
                    pieces = split_lone_window(window.tokens, place)
                    segments = self._take(pieces, window, place.seek)
                yield DecodedPart(tuple(segments), self._progress(place.seek + place.n_frames))

    def _decode(self, places: Sequence[WindowPlace], prompt: Sequence[int]) -> list[WindowText]:
        """All windows at the first temperature, and those that fail at the others, one by one."""
        mel = np.stack([self._mel.padded_window(place.seek, place.n_frames) for place in places])
        options, builder = self._options, self._builder
        features = self._encode(mel)
        first, others = options.temperatures[0], options.temperatures[1:]
        requests = [builder.build(prompt, first, (options.seed, p.seek, 0)) for p in places]
        with self._stopwatch.on("decoder: all else"):
            decoded = self._implementation.decode_batch(features, requests)
        windows = [judge(window, first, builder) for window in decoded]
        hotter = replace(builder, options=replace(options, temperatures=others or (first,)))
        for i, place in enumerate(places):
            if others and needs_fallback(windows[i], options):
                windows[i] = decode_with_fallback(
                    self._implementation, features[i], hotter, prompt, place.seek, self._stopwatch
                )
        return windows


def start_run(
    implementation: Implementation,
    mel: MelSpectrogram,
    options: TranscribeOptions,
    stopwatch: Stopwatch = STOPPED,
) -> TranscriptionRun:
    """The run that the options ask for.

    Raises:
        OptionsError: a prompt, prefix or token that this model cannot take.
        LanguageError: this model does not know the language.
    """
    run = BatchedRun if options.batch_size > 1 else TranscriptionRun
    return run(implementation, mel, options, stopwatch)
