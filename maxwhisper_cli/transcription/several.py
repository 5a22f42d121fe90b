"""Several recordings in one batch: opened as rows come free, closed and handed over as they end.

A recording that cannot be heard fails alone; a round that fails takes with it the recordings that
had a window in it. What a recording is and how it is opened is for the caller to say.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

from maxwhisper_cli.transcription.batched import BatchedRun, Rounds
from maxwhisper_cli.transcription.segments import Progress, Transcript
from weights.errors import MaxWhisperError

OnProgressOf = Callable[[int, Progress], None]
"""Told of which recording, as it begins and after each of its windows; raise from it to stop."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of one of several recordings."""

    index: int
    """Its place among those given."""
    wall_seconds: float
    """From its opening to its end, shared with what went on beside it."""
    transcript: Transcript | None = None
    error: MaxWhisperError | None = None
    """Why there is no transcript."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording and its run."""

    run: BatchedRun
    warnings: list[str]
    """About its sound; complete by now."""


@dataclass(frozen=True, slots=True)
class _Going:
    """A recording that is being transcribed."""

    index: int
    began: float
    opened: Opened
    resources: ExitStack

    def end(self) -> Finished:
        """Close it and hand it over."""
        with self.resources:
            for _ in self.opened.run.ending():
                pass
        transcript = replace(self.opened.run.transcript, warnings=tuple(self.opened.warnings))
        return Finished(self.index, time.perf_counter() - self.began, transcript)

    def fail(self, error: MaxWhisperError) -> Finished:
        """Close it and say why."""
        self.resources.close()
        return Finished(self.index, time.perf_counter() - self.began, error=error)


class Batch:
    """Recordings going on side by side; iterate once."""

    def __init__(
        self,
        recordings: Iterable[AbstractContextManager[Opened]],
        rounds: Rounds,
        on_progress: OnProgressOf | None,
    ) -> None:
        """Nothing is opened before the first is asked for."""
        self._waiting = enumerate(recordings)
        self._rounds = rounds
        self._on_progress = on_progress
        self._going: dict[BatchedRun, _Going] = {}

    def __iter__(self) -> Iterator[Finished]:
        """Yield each as it is done; what is open is closed when the iteration ends early."""
        try:
            yield from self._fill()
            while self._going:
                yield from self._decode()
                yield from self._fill()
        finally:
            with ExitStack() as everything:
                for going in self._going.values():
                    everything.enter_context(going.resources)

    def _fill(self) -> Iterator[Finished]:
        """Open recordings for the rows that are free."""
        while self._rounds.has_room and (following := next(self._waiting, None)) is not None:
            index, recording = following
            began = time.perf_counter()
            try:
                with ExitStack() as resources:
                    opened = resources.enter_context(recording)
                    going = _Going(index, began, opened, resources.pop_all())
            except MaxWhisperError as error:
                yield Finished(index, time.perf_counter() - began, error=error)
                continue
            self._going[opened.run] = going
            self._tell(going)
            self._rounds.add(opened.run)
            if opened.run.is_done:  # there is nothing in it
                yield self._take(opened.run).end()

    def _decode(self) -> Iterator[Finished]:
        """A window of each row."""
        try:
            went_on = self._rounds.decode()
        except MaxWhisperError as error:
            for run in self._rounds.drop():
                yield self._take(run).fail(error)
            return
        for run in went_on:
            self._tell(self._going[run])
        for run in went_on:
            if run.is_done:
                yield self._take(run).end()

    def _take(self, run: BatchedRun) -> _Going:
        return self._going.pop(run)

    def _tell(self, going: _Going) -> None:
        if self._on_progress is not None:
            self._on_progress(going.index, going.opened.run.progress)
