"""Several recordings in one batch: opened as rows become free, closed and returned as they end.

A recording that cannot be decoded fails alone; if a batch of windows fails, all recordings with a
window in it fail. The caller supplies the recordings and opens them.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

from maxwhisper_cli.transcription.batched import BatchedRun, BatchScheduler
from maxwhisper_cli.transcription.segments import Progress, Transcript
from maxwhisper_cli.transcription.speakers import BatchedSpeakersRun
from weights.errors import MaxWhisperError

OnProgressOf = Callable[[int, Progress], None]
"""Callback with a recording's index, at its start and after each window; raise to stop."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Result of one of several recordings."""

    index: int
    """Index of the recording in the input."""
    wall_seconds: float
    """Seconds from opening to end, shared with the other recordings of the batch."""
    transcript: Transcript | None = None
    error: MaxWhisperError | None = None
    """Error, if there is no transcript."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording and its run."""

    run: BatchedRun | BatchedSpeakersRun
    warnings: list[str]
    """Messages about its audio; complete once it is open."""

    @property
    def runs(self) -> tuple[BatchedRun, ...]:
        """The runs that a scheduler takes: of each speaker, if there are several."""
        return (self.run,) if isinstance(self.run, BatchedRun) else self.run.runs


@dataclass(frozen=True, slots=True)
class _OpenRecording:
    """A recording that is being transcribed."""

    index: int
    start_time: float
    opened: Opened
    resources: ExitStack

    def finish(self) -> Finished:
        """Closes the recording and returns its transcript."""
        with self.resources:
            for _ in self.opened.run.finish():
                pass
        transcript = self.opened.run.transcript
        transcript = replace(transcript, warnings=(*self.opened.warnings, *transcript.warnings))
        return Finished(self.index, time.perf_counter() - self.start_time, transcript)

    def fail(self, error: MaxWhisperError) -> Finished:
        """Closes the recording and returns its error."""
        self.resources.close()
        return Finished(self.index, time.perf_counter() - self.start_time, error=error)


class Batch:
    """Recordings transcribed together; iterate once over their results."""

    def __init__(
        self,
        recordings: Iterable[AbstractContextManager[Opened]],
        scheduler: BatchScheduler,
        on_progress: OnProgressOf | None,
    ) -> None:
        """Stores the arguments; recordings are opened while iterating."""
        self._sources = enumerate(recordings)
        self._scheduler = scheduler
        self._on_progress = on_progress
        self._open: dict[BatchedRun, _OpenRecording] = {}

    def __iter__(self) -> Iterator[Finished]:
        """Yields each recording as it is done; closes the open ones if the iteration ends early."""
        try:
            yield from self._open_recordings()
            while self._open:
                yield from self._decode()
                yield from self._open_recordings()
        finally:
            with ExitStack() as everything:
                for recording in self._recordings_of(self._open):
                    everything.enter_context(recording.resources)

    def _open_recordings(self) -> Iterator[Finished]:
        """Opens recordings for the free rows; yields those that fail or have no audio."""
        while self._scheduler.has_free_row and (following := next(self._sources, None)) is not None:
            index, source = following
            start_time = time.perf_counter()
            try:
                with ExitStack() as resources:
                    opened = resources.enter_context(source)
                    recording = _OpenRecording(index, start_time, opened, resources.pop_all())
            except MaxWhisperError as error:
                yield Finished(index, time.perf_counter() - start_time, error=error)
                continue
            self._open.update(dict.fromkeys(opened.runs, recording))
            self._report_progress(recording)
            for run in opened.runs:
                self._scheduler.add(run)
            if opened.run.is_done:  # there is nothing in it
                yield self._pop(recording).finish()

    def _decode(self) -> Iterator[Finished]:
        """Decodes a window of each row; yields the recordings that end or fail."""
        try:
            advanced = self._scheduler.decode()
        except MaxWhisperError as error:
            for recording in self._recordings_of(self._scheduler.drop()):
                self._scheduler.discard(recording.opened.runs)
                yield self._pop(recording).fail(error)
            return
        recordings = self._recordings_of(advanced)
        for recording in recordings:
            self._report_progress(recording)
        for recording in recordings:
            if recording.opened.run.is_done:
                yield self._pop(recording).finish()

    def _recordings_of(self, runs: Iterable[BatchedRun]) -> list[_OpenRecording]:
        """Returns the open recordings that the runs belong to, each once."""
        recordings = (self._open[run] for run in runs)
        return list({recording.index: recording for recording in recordings}.values())

    def _pop(self, recording: _OpenRecording) -> _OpenRecording:
        for run in recording.opened.runs:
            del self._open[run]
        return recording

    def _report_progress(self, recording: _OpenRecording) -> None:
        if self._on_progress is not None:
            self._on_progress(recording.index, recording.opened.run.progress)
