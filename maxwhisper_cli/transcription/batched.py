"""Several windows at a time: the recording is cut into stretches that go on side by side.

Each stretch is transcribed window after window, led by its timestamps as always; only where two
stretches meet may a word be cut in two. No window is shown the text before it. Faster where an
implementation decodes many windows at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from implementations.base import Implementation
from maxwhisper_cli.transcription.fallback import (
    WindowText,
    count_times,
    decode_with_fallback,
    judge,
    needs_fallback,
)
from maxwhisper_cli.transcription.longform import DecodedPart, TranscriptionRun
from maxwhisper_cli.transcription.mel import N_FRAMES, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from maxwhisper_cli.transcription.timestamps import Piece, WindowPlace, split_window

_SHORTEST = 4 * N_FRAMES
"""Mel frames of a stretch at least: where stretches meet, text suffers."""


@dataclass(slots=True)
class _Stretch:
    """A part of the recording, and what was found in it so far."""

    seek: int
    end: int
    found: list[tuple[list[Piece], WindowText, int]] = field(default_factory=list)
    """Of each window: its pieces, its text, where it began."""


class BatchedRun(TranscriptionRun):
    """As `TranscriptionRun`, with a window of each of up to `batch_size` stretches at a time."""

    def parts(self) -> Iterator[DecodedPart]:
        """Parts without segments tell how far it is; the segments come at the end, in order."""
        yield DecodedPart((), self._progress(0))
        prompt, stretches = self._history.prompt(), self._stretches()
        n_done = 0
        while active := [stretch for stretch in stretches if stretch.seek < stretch.end]:
            places = [self._place(stretch.seek, stretch.end) for stretch in active]
            windows = self._decode(places, prompt)
            for stretch, place, window in zip(active, places, windows, strict=True):
                n_frames = place.n_frames
                if not window.is_silence(self._options):
                    pieces, n_frames = split_window(window.tokens, place)
                    stretch.found.append((pieces, window, place.seek))
                stretch.seek += n_frames
                n_done += n_frames
            yield DecodedPart((), self._progress(n_done))
        for stretch in stretches:
            segments = [s for found in stretch.found for s in self._take(*found)]
            yield DecodedPart(tuple(segments), self._progress(n_done))

    def _stretches(self) -> list[_Stretch]:
        """Every clip cut into stretches of about the same length, `batch_size` in all or fewer."""
        clips = self._clips()
        total = sum(end - start for start, end in clips)
        length = max(_SHORTEST, -(-total // self._options.batch_size))
        return [
            _Stretch(start + i * (end - start) // n, start + (i + 1) * (end - start) // n)
            for start, end in clips
            for n in (max(1, (end - start) // length),)
            for i in range(n)
        ]

    def _decode(self, places: Sequence[WindowPlace], prompt: Sequence[int]) -> list[WindowText]:
        """All windows at the first temperature, and those that fail at the others, one by one."""
        mel = self._mel.padded_windows([(place.seek, place.n_frames) for place in places])
        options, builder = self._options, self._builder
        features = self._encode(mel)
        first, others = options.temperatures[0], options.temperatures[1:]
        requests = [builder.build(prompt, first, (options.seed, p.seek, 0)) for p in places]
        with self._stopwatch.on("decoder: all else"):
            decoded = self._implementation.decode_batch(features, requests)
            for window in decoded:
                count_times(window, self._stopwatch)
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
