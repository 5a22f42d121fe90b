"""Batched transcription: recordings are cut into shards, whose windows are decoded together.

Each shard is transcribed window after window, guided by its timestamps; a word may be split where
two shards meet. No window is prompted with the text before it. This is faster if an implementation
decodes many windows at once. The cuts of a recording do not depend on the others in the batch, so
its text is the same as alone.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from implementations.implementation import Implementation
from implementations.memory import translate_out_of_memory
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.fallback import (
    WindowText,
    count_times,
    decode_with_fallback,
    make_window_text,
    needs_fallback,
)
from maxwhisper_cli.transcription.longform import DecodedPart, TranscriptionRun, encode
from maxwhisper_cli.transcription.mel import (
    FRAMES_PER_SECOND,
    N_FRAMES,
    Float32,
    MelSpectrogram,
)
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from maxwhisper_cli.transcription.timestamps import WindowPlace
from maxwhisper_cli.transcription.window_request import RequestBuilder
from maxwhisper_cli.transcription.word_timing import CutWindow, WordTimer
from maxwhisper_cli.transcription.words import TimedWord

_MIN_SHARD_FRAMES = 4 * N_FRAMES
"""Smallest length of a shard in mel frames; text suffers where shards meet."""
_N_FILL_THREADS = 8
"""Threads that write mel windows, for which a GPU has to wait."""


@dataclass(slots=True)
class Shard:
    """A part of a recording, with its windows decoded so far; `seek` and `end` are mel frames."""

    seek: int
    end: int
    last_speech: float
    """End of the last word so far, in seconds; at first the end of the shard before."""
    windows: list[tuple[tuple[Segment, ...], float]] = field(default_factory=list)
    """Segments and temperature of each decoded window."""

    @property
    def is_done(self) -> bool:
        """True once the shard is transcribed to its end."""
        return self.seek >= self.end


class BatchedRun(TranscriptionRun):
    """Transcription of one recording by up to `batch_size` shards at a time."""

    def __init__(
        self,
        implementation: Implementation,
        mel: MelSpectrogram,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
    ) -> None:
        """Detects the language if none is given, and cuts the recording into shards.

        Raises:
            OptionsError: A prompt, prefix, token or alignment head does not fit this model.
            LanguageError: This model does not support the language.
        """
        super().__init__(implementation, mel, options, stopwatch)
        self._prompt = self._history.prompt()
        self.shards = self._make_shards()
        n_content, n_speech = mel.n_content_frames, sum(s.end - s.seek for s in self.shards)
        self._n_done = 0 if mel.speech is None else n_content - n_speech  # of silence

    def parts(self) -> Iterator[DecodedPart]:
        """Yields parts without segments for progress, and all segments at the end, in order."""
        yield DecodedPart((), self.progress)
        scheduler = BatchScheduler(self._implementation, self._options, self._stopwatch)
        scheduler.add(self)
        while scheduler.decode():
            yield DecodedPart((), self.progress)
        yield from self.finish()

    def finish(self) -> Iterator[DecodedPart]:
        """Yields the segments, shard by shard; iterate once, when all shards are done."""
        for shard in self.shards:
            segments = [s for window in shard.windows for s in self._add_segments(*window)]
            yield DecodedPart(tuple(segments), self.progress)

    @property
    def progress(self) -> Progress:
        """Progress of all shards together."""
        return self._progress(self._n_done)

    @property
    def is_done(self) -> bool:
        """True once every shard is transcribed."""
        return all(shard.is_done for shard in self.shards)

    def fill(self, window: Float32, shard: Shard) -> WindowPlace:
        """Writes the shard's next mel window into `[n_mels, 3000]` and returns its place."""
        place = self._place(shard.seek, shard.end)
        self._mel.fill_padded(window, place.seek, place.n_frames)
        return place

    def request(self, place: WindowPlace, builder: RequestBuilder) -> DecodeRequest:
        """Returns the decoding request of a window at the first temperature."""
        seed = (self._options.seed, place.seek, 0)
        return builder.build(self._prompt, self._options.temperatures[0], seed)

    def apply_fallback(
        self,
        decoded: DecodedWindow,
        features: AudioFeatures,
        place: WindowPlace,
        builder: RequestBuilder,
    ) -> WindowText:
        """Returns the window's text, decoded again at the other temperatures if that is needed.

        Args:
            decoded: Its decoding at the first temperature.
            features: Its encoder output, a batch of one.
            place: Where it is.
            builder: Builder of its requests.
        """
        first, *others = self._options.temperatures
        window = make_window_text(decoded, first, builder)
        if not others or not needs_fallback(window, self._options):
            return window
        options = replace(self._options, temperatures=tuple(others))
        return decode_with_fallback(
            self._implementation,
            features,
            replace(builder, options=options),
            self._prompt,
            place.seek,
            self._stopwatch,
        )

    def add_words(self, shard: Shard, cut: CutWindow, words: Sequence[TimedWord]) -> CutWindow:
        """Returns the shard's window with its words, and with the next one where these end."""
        assert self._timer is not None, "no words are asked for"
        cut = self._timer.time(cut, words, shard.last_speech, self._mel.n_content_frames)
        shard.last_speech = cut.last_end or shard.last_speech
        return cut

    def advance(self, shard: Shard, cut: CutWindow, temperature: float) -> None:
        """Stores the window's segments, and moves the shard on to its next window."""
        if not cut.is_dropped:
            shard.windows.append((cut.segments, temperature))
        n_frames = min(cut.n_frames, shard.end - shard.seek)
        shard.seek += cut.n_frames
        self._n_done += n_frames

    def _make_shards(self) -> list[Shard]:
        """Returns all clips as at most `batch_size` shards of about the same length."""
        clips = self._clips()
        total = sum(end - start for start, end in clips)
        length = max(_MIN_SHARD_FRAMES, -(-total // self._options.batch_size))
        spans = [
            (start + i * (end - start) // n, start + (i + 1) * (end - start) // n)
            for start, end in clips
            for n in (max(1, (end - start) // length),)
            for i in range(n)
        ]
        ends_before = [0, *(end for _, end in spans)]
        return [
            Shard(start, end, before / FRAMES_PER_SECOND)
            for (start, end), before in zip(spans, ends_before, strict=False)
        ]


class BatchScheduler:
    """Scheduler of shards, of one recording or several: each batch has a window of each row."""

    def __init__(
        self,
        implementation: Implementation,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
    ) -> None:
        """Makes a scheduler without recordings.

        Raises:
            OptionsError: An alignment head does not fit this model.
        """
        self._implementation = implementation
        self._n_rows = options.batch_size
        self._stopwatch = stopwatch
        self._timer = WordTimer.for_options(implementation, options, stopwatch)
        self._rows: list[tuple[BatchedRun, Shard]] = []
        self._queue: deque[tuple[BatchedRun, Shard]] = deque()

    @property
    def has_free_row(self) -> bool:
        """True if a row is left for another recording."""
        return len(self._rows) + len(self._queue) < self._n_rows

    def add(self, run: BatchedRun) -> None:
        """Queues a recording's shards for rows, which they take as these become free."""
        self._queue.extend((run, s) for s in run.shards if not s.is_done)

    def decode(self) -> Sequence[BatchedRun]:
        """Decodes the next window of each row.

        Returns:
            Recordings whose windows were decoded; none if nothing is left to do.

        Raises:
            ImplementationFailedError: There is too little memory for the batch.
        """
        rows = self._rows
        while self._queue and len(rows) < self._n_rows:
            rows.append(self._queue.popleft())
        if not rows:
            return ()
        with translate_out_of_memory(self._implementation.device):
            self._advance(rows)
        self._rows = [(run, shard) for run, shard in rows if not shard.is_done]
        return tuple(dict.fromkeys(run for run, _ in rows))

    def _advance(self, rows: list[tuple[BatchedRun, Shard]]) -> None:
        mel = np.empty((len(rows), self._implementation.dims.n_mels, N_FRAMES), np.float32)
        with ThreadPoolExecutor(_N_FILL_THREADS) as pool:
            places = list(pool.map(lambda window, row: row[0].fill(window, row[1]), mel, rows))
        features = encode(self._implementation, mel, self._stopwatch)
        builders = [run.builder(places[i], features[i]) for i, (run, _) in enumerate(rows)]
        requests = [
            run.request(place, builder)
            for (run, _), place, builder in zip(rows, places, builders, strict=True)
        ]
        with self._stopwatch.on("decoder: all else"):
            decoded = self._implementation.decode_batch(features, requests)
            for window in decoded:
                count_times(window, self._stopwatch)
        texts = [
            run.apply_fallback(decoded[i], features[i], places[i], builders[i])
            for i, (run, _) in enumerate(rows)
        ]
        cuts = [
            run.cut(text, place, builder.tokenizer)
            for (run, _), text, place, builder in zip(rows, texts, places, builders, strict=True)
        ]
        if self._timer is not None:
            words = self._timer.align(features, cuts)
            cuts = [run.add_words(shard, cuts[i], words[i]) for i, (run, shard) in enumerate(rows)]
        for (run, shard), cut, text in zip(rows, cuts, texts, strict=True):
            run.advance(shard, cut, text.temperature)

    def drop(self) -> Sequence[BatchedRun]:
        """Removes and returns the recordings that have rows, after their batch failed."""
        dropped = tuple(dict.fromkeys(run for run, _ in self._rows))
        self._rows = []
        self.discard(dropped)
        return dropped

    def discard(self, runs: Collection[BatchedRun]) -> None:
        """Removes the shards of recordings that are still queued."""
        self._queue = deque(row for row in self._queue if row[0] not in runs)
