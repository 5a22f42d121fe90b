"""Several windows at a time: recordings are cut into stretches that go on side by side.

Each stretch is transcribed window after window, led by its timestamps as always; only where two
stretches meet may a word be cut in two. No window is shown the text before it. Faster where an
implementation decodes many windows at once. How a recording is cut does not hang on what goes on
beside it, so its text is the same with others in the batch as alone.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from implementations.implementation import Implementation
from implementations.memory import told_when_full
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.fallback import (
    WindowText,
    count_times,
    decode_with_fallback,
    judge,
    needs_fallback,
)
from maxwhisper_cli.transcription.longform import DecodedPart, TranscriptionRun, encode
from maxwhisper_cli.transcription.mel import N_FRAMES, Float32, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from maxwhisper_cli.transcription.timestamps import Piece, WindowPlace, split_window

_SHORTEST = 4 * N_FRAMES
"""Mel frames of a stretch at least: where stretches meet, text suffers."""
_N_FILLING = 8
"""Threads that write windows; a GPU waits for them."""


@dataclass(slots=True)
class Stretch:
    """A part of a recording, and what was found in it so far."""

    seek: int
    end: int
    found: list[tuple[list[Piece], WindowText, int]] = field(default_factory=list)
    """Of each window: its pieces, its text, where it began."""

    @property
    def is_done(self) -> bool:
        """Whether all of it is transcribed."""
        return self.seek >= self.end


class BatchedRun(TranscriptionRun):
    """As `TranscriptionRun`, with a window of each of up to `batch_size` stretches at a time."""

    def __init__(
        self,
        implementation: Implementation,
        mel: MelSpectrogram,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
    ) -> None:
        """As `TranscriptionRun`, the errors too."""
        super().__init__(implementation, mel, options, stopwatch)
        self._prompt = self._history.prompt()
        self._n_done = 0
        self.stretches = self._cut()

    def parts(self) -> Iterator[DecodedPart]:
        """Parts without segments tell how far it is; the segments come at the end, in order."""
        yield DecodedPart((), self.progress)
        rounds = Rounds(self._implementation, self._options, self._stopwatch)
        rounds.add(self)
        while rounds.decode():
            yield DecodedPart((), self.progress)
        yield from self.ending()

    def ending(self) -> Iterator[DecodedPart]:
        """The segments, stretch by stretch; iterate once, when all of them are done."""
        for stretch in self.stretches:
            segments = [s for found in stretch.found for s in self._take(*found)]
            yield DecodedPart(tuple(segments), self.progress)

    @property
    def progress(self) -> Progress:
        """How far it is, all stretches together."""
        return self._progress(self._n_done)

    @property
    def is_done(self) -> bool:
        """Whether every stretch is."""
        return all(stretch.is_done for stretch in self.stretches)

    def fill(self, window: Float32, stretch: Stretch) -> WindowPlace:
        """Write the stretch's next window into `[n_mels, 3000]`; tell where it is."""
        place = self._place(stretch.seek, stretch.end)
        self._mel.fill_padded(window, place.seek, place.n_frames)
        return place

    def request(self, place: WindowPlace) -> DecodeRequest:
        """What is asked of the decoder at first."""
        seed = (self._options.seed, place.seek, 0)
        return self._builder.build(self._prompt, self._options.temperatures[0], seed)

    def judge(
        self, decoded: DecodedWindow, features: AudioFeatures, index: int, place: WindowPlace
    ) -> WindowText:
        """The window's text, decoded again on its own at the other temperatures if it failed."""
        first, *others = self._options.temperatures
        window = judge(decoded, first, self._builder)
        if not others or not needs_fallback(window, self._options):
            return window
        hotter = replace(self._builder, options=replace(self._options, temperatures=tuple(others)))
        return decode_with_fallback(
            self._implementation,
            features[index],
            hotter,
            self._prompt,
            place.seek,
            self._stopwatch,
        )

    def advance(self, stretch: Stretch, place: WindowPlace, window: WindowText) -> None:
        """Keep what the window says, and go on behind it."""
        n_frames = place.n_frames
        if not window.is_silence(self._options):
            pieces, n_frames = split_window(window.tokens, place)
            stretch.found.append((pieces, window, place.seek))
        stretch.seek += n_frames
        self._n_done += n_frames

    def _cut(self) -> list[Stretch]:
        """Every clip cut into stretches of about the same length, `batch_size` in all or fewer."""
        clips = self._clips()
        total = sum(end - start for start, end in clips)
        length = max(_SHORTEST, -(-total // self._options.batch_size))
        return [
            Stretch(start + i * (end - start) // n, start + (i + 1) * (end - start) // n)
            for start, end in clips
            for n in (max(1, (end - start) // length),)
            for i in range(n)
        ]


class Rounds:
    """Rows of stretches, of one recording or of several, decoded a window of each at a time."""

    def __init__(
        self,
        implementation: Implementation,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
    ) -> None:
        self._implementation = implementation
        self._n_rows = options.batch_size
        self._stopwatch = stopwatch
        self._rows: list[tuple[BatchedRun, Stretch]] = []
        self._waiting: deque[tuple[BatchedRun, Stretch]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether a row is left for another recording."""
        return len(self._rows) + len(self._waiting) < self._n_rows

    def add(self, run: BatchedRun) -> None:
        """Let a recording's stretches take rows, now or as they come free."""
        self._waiting.extend((run, s) for s in run.stretches if not s.is_done)

    def decode(self) -> Sequence[BatchedRun]:
        """Decode a window of each row.

        Returns:
            The recordings that have rows; none when nothing is left to do.

        Raises:
            ImplementationFailedError: there is too little memory for so many.
        """
        rows = self._rows
        while self._waiting and len(rows) < self._n_rows:
            rows.append(self._waiting.popleft())
        if not rows:
            return ()
        with told_when_full(self._implementation.device):
            self._advance(rows)
        self._rows = [(run, stretch) for run, stretch in rows if not stretch.is_done]
        return tuple(dict.fromkeys(run for run, _ in rows))

    def _advance(self, rows: list[tuple[BatchedRun, Stretch]]) -> None:
        mel = np.empty((len(rows), self._implementation.dims.n_mels, N_FRAMES), np.float32)
        with ThreadPoolExecutor(_N_FILLING) as pool:
            places = list(pool.map(lambda window, row: row[0].fill(window, row[1]), mel, rows))
        features = encode(self._implementation, mel, self._stopwatch)
        requests = [run.request(place) for (run, _), place in zip(rows, places, strict=True)]
        with self._stopwatch.on("decoder: all else"):
            decoded = self._implementation.decode_batch(features, requests)
            for window in decoded:
                count_times(window, self._stopwatch)
        for i, (run, stretch) in enumerate(rows):
            text = run.judge(decoded[i], features, i, places[i])
            run.advance(stretch, places[i], text)

    def drop(self) -> Sequence[BatchedRun]:
        """Give up the recordings that have rows, where a round failed."""
        dropped = tuple(dict.fromkeys(run for run, _ in self._rows))
        self._rows = []
        self._waiting = deque(row for row in self._waiting if row[0] not in dropped)
        return dropped


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
