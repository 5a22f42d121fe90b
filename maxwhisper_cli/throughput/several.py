"""Several recordings in rows: opened as rows become free, closed and returned as they end.

A recording that cannot be opened or decoded fails alone. The caller supplies the recordings and
opens them.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial

from maxwhisper_cli.throughput.feed import NOTHING_NOW
from maxwhisper_cli.throughput.scheduler import Scheduler
from maxwhisper_cli.transcription.segments import (
    OnProgress,
    OnSegment,
    Progress,
    Segment,
    Transcript,
)
from maxwhisper_cli.transcription.steps import DecodedPart, Run
from weights.errors import MaxWhisperError

OnProgressOf = Callable[[int, Progress], None]
"""Callback with a recording's index, at its start and after each window; raise to stop."""
OnSegmentOf = Callable[[int, Segment], None]
"""Callback with a recording's index and each of its segments, as it is decoded."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Implementation that transcribed a recording, where several share the work."""

    name: str
    device: str
    dtype: str


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
    origin: Origin | None = None
    """Implementation, where there is more than one."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording and its run."""

    run: Run
    warnings: list[str]
    """Messages about its audio; complete once it is open."""


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
            transcript = self.opened.run.transcript
        transcript = replace(transcript, warnings=(*self.opened.warnings, *transcript.warnings))
        return Finished(self.index, time.perf_counter() - self.start_time, transcript)

    def fail(self, error: MaxWhisperError) -> Finished:
        """Closes the recording and returns its error."""
        self.resources.close()
        return Finished(self.index, time.perf_counter() - self.start_time, error=error)


@dataclass(frozen=True, slots=True)
class Listener:
    """Callbacks of a batch."""

    on_progress: OnProgressOf | None = None
    on_segment: OnSegmentOf | None = None

    def of(self, index: int) -> tuple[OnSegment | None, OnProgress | None]:
        """Returns the callbacks of one recording."""
        return (
            self.on_segment and partial(self.on_segment, index),
            self.on_progress and partial(self.on_progress, index),
        )

    def report(self, index: int, part: DecodedPart) -> None:
        """Reports a part of a recording."""
        if self.on_segment is not None:
            for segment in part.segments:
                self.on_segment(index, segment)
        if self.on_progress is not None:
            self.on_progress(index, part.progress)


def alone(index: int, transcribe: Callable[[], Transcript]) -> Finished:
    """Returns the result of a recording that is transcribed by itself."""
    start_time = time.perf_counter()
    try:
        transcript = transcribe()
    except MaxWhisperError as error:
        return Finished(index, time.perf_counter() - start_time, error=error)
    return Finished(index, time.perf_counter() - start_time, transcript)


class Batch:
    """Recordings transcribed together; iterate once over their results."""

    def __init__(
        self,
        recordings: Iterable[AbstractContextManager[Opened]],
        scheduler: Scheduler,
        listener: Listener,
    ) -> None:
        """Stores the arguments; recordings are opened while iterating.

        Args:
            recordings: In order; `NOTHING_NOW` is followed by more once others have gone on.
            scheduler: Rows.
            listener: Callbacks.
        """
        self._sources = iter(recordings)
        self._n_taken = 0
        self._scheduler = scheduler
        self._listener = listener
        self._open: dict[Run, _OpenRecording] = {}

    def __iter__(self) -> Iterator[Finished]:
        """Yields each recording as it is done; closes the open ones if the iteration ends early."""
        try:
            yield from self._open_recordings()
            while self._open:
                yield from self._decode()
                yield from self._open_recordings()
        finally:
            with ExitStack() as everything:
                everything.enter_context(self._scheduler)
                for recording in self._open.values():
                    everything.enter_context(recording.resources)

    def _open_recordings(self) -> Iterator[Finished]:
        """Opens recordings for the free rows; yields those that fail or have no audio."""
        while (
            self._scheduler.has_free_place
            and (source := next(self._sources, NOTHING_NOW)) is not NOTHING_NOW
        ):
            index = self._n_taken
            self._n_taken += 1
            start_time = time.perf_counter()
            try:
                with ExitStack() as resources:
                    opened = resources.enter_context(source)
                    recording = _OpenRecording(index, start_time, opened, resources.pop_all())
            except MaxWhisperError as error:
                yield Finished(index, time.perf_counter() - start_time, error=error)
                continue
            run = opened.run
            self._open[run] = recording
            self._listener.report(index, DecodedPart((), run.progress))
            self._scheduler.add(run)
            if run.is_done:  # there is nothing in it
                yield self._open.pop(run).finish()

    def _decode(self) -> Iterator[Finished]:
        """Decodes until windows end; yields the recordings that end or fail."""
        outcomes = self._scheduler.decode()
        errors: dict[Run, MaxWhisperError] = {}
        for run, outcome in outcomes:
            if isinstance(outcome, MaxWhisperError):
                errors[run] = outcome
            else:
                self._listener.report(self._open[run].index, outcome)
        for run in dict.fromkeys(run for run, _ in outcomes):
            if run in errors:
                yield self._open.pop(run).fail(errors[run])
            elif run.is_done:
                yield self._open.pop(run).finish()
