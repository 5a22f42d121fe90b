"""One run over recordings that several devices share.

A recording goes to the device that asks first, and no device holds more than its share of those
that are left. What a failed device had goes back to the head of the queue, once; a recording that
fails for a reason that may be the device's goes to another one.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from implementations.errors import ImplementationFailedError
from maxwhisper_cli.audio.reader import ReadingOptions
from maxwhisper_cli.devices.messages import (
    Advanced,
    Ended,
    Given,
    Job,
    Later,
    OnNote,
    Over,
    Segments,
    Stop,
    Want,
)
from maxwhisper_cli.devices.shared_queue import SharedQueue
from maxwhisper_cli.throughput.several import Finished, OnProgressOf, OnSegmentOf, Origin
from maxwhisper_cli.transcription.options import TranscribeOptions
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.devices.pool import DevicePool
    from maxwhisper_cli.devices.worker import Worker

_LOOK_SECONDS: Final = 0.2
"""Time between two questions whether to go on."""
_MAX_FAILURES: Final = 3
"""Recordings that may fail in turn on a device before it gets no more."""


class RunArguments(ReadingOptions, total=False):
    """Arguments of `Model.transcribe_several` besides recordings and options."""

    on_progress: OnProgressOf | None
    on_segment: OnSegmentOf | None
    on_warning: OnNote | None
    keep_going: Callable[[], bool]


class PoolRun:
    """A run; iterate once over what is finished."""

    def __init__(
        self,
        pool: "DevicePool",
        audios: Sequence[object],
        options: TranscribeOptions,
        arguments: RunArguments,
    ) -> None:
        """Begins nothing yet."""
        self._pool = pool
        self._queue = SharedQueue(audios)
        reading = dict(arguments)
        self._on_progress = cast("OnProgressOf | None", reading.pop("on_progress", None))
        self._on_segment = cast("OnSegmentOf | None", reading.pop("on_segment", None))
        keep_going = cast("Callable[[], bool] | None", reading.pop("keep_going", None))
        self._keep_going = keep_going or (lambda: True)
        on_warning = cast("OnNote | None", reading.pop("on_warning", None))
        pool.on_warning = on_warning or pool.on_warning
        wants_segments = self._on_segment is not None
        self._job = Job(options, cast("ReadingOptions", reading), wants_segments)
        self._is_stopped = False
        self._n_shown: Counter[int] = Counter()
        """Segments of a recording that were shown."""
        self._n_repeated: Counter[int] = Counter()
        """Segments of a recording that come a second time, from another device."""

    def __iter__(self) -> Iterator[Finished]:
        """Yields recordings as they are done.

        Raises:
            ImplementationFailedError: No device is left.
        """
        pool = self._pool
        while True:
            self._stop_if_asked()
            self._begin()
            if not any(each.is_busy for each in pool.workers):
                if not self._queue.waiting:
                    break
                if not pool.workers:
                    raise ImplementationFailedError(f"no device is left: {pool.failures}")
            for worker, message in pool.messages(_LOOK_SECONDS):
                yield from self._take(worker, message)
        for worker in pool.workers:
            worker.given.clear()  # those that a stopped run has not opened

    def _stop_if_asked(self) -> None:
        if not self._is_stopped and not self._keep_going():
            self._is_stopped = True
            for worker in self._pool.workers:
                worker.send(Stop())
        if self._is_stopped:
            self._queue.waiting.clear()

    def _begin(self) -> None:
        """Lets those begin that have nothing to do."""
        workers = self._pool.workers
        for worker in workers:
            is_free = worker.ready is not None and not worker.is_busy
            if is_free and self._queue.next_for(worker, workers) is not None:
                worker.is_busy = True
                worker.send(self._job)

    def _take(self, worker: "Worker", message: Any) -> Iterator[Finished]:  # noqa: ANN401
        if isinstance(message, Want):
            self._answer(worker)
        elif isinstance(message, Advanced):
            if self._on_progress is not None:
                self._on_progress(message.index, message.progress)
        elif isinstance(message, Segments):
            self._show(message)
        elif isinstance(message, Ended):
            yield from self._end(worker, message)
        elif message is None and worker.given:
            yield from self._give_back(worker)
        else:
            self._pool.take_note(worker, message)

    def _answer(self, worker: "Worker") -> None:
        workers = self._pool.workers
        index = self._queue.next_for(worker, workers)
        if index is None:
            worker.send(Over())
        elif len(worker.given) >= self._queue.share(workers):
            worker.send(Later())
        else:
            worker.given.add(index)
            worker.send(Given(index, self._queue.take(index)))

    def _show(self, message: Segments) -> None:
        if self._n_repeated[message.index]:
            self._n_repeated[message.index] -= 1
        elif self._on_segment is not None:
            self._n_shown[message.index] += 1
            self._on_segment(message.index, message.segment)

    def _end(self, worker: "Worker", ended: Ended) -> Iterator[Finished]:
        """Takes the end of a recording; one that the device may have failed goes to another."""
        index = ended.index
        worker.given.discard(index)
        worker.n_failures = worker.n_failures + 1 if ended.is_of_device else 0
        has_others = len(self._pool.workers) > 1
        if ended.is_of_device and has_others and self._put_back(index, worker):
            self._pool.on_warning(f"{worker.device}: {ended.error}; another device tries again")
        else:
            facts = worker.ready.facts if worker.ready else self._pool.implementation
            error = None if ended.error is None else MaxWhisperError(ended.error)
            origin = Origin(facts.name, facts.device, facts.dtype)
            yield Finished(index, ended.wall_seconds, ended.transcript, error, origin)
        if worker.n_failures >= _MAX_FAILURES and has_others:
            self._pool.lose(worker, f"{_MAX_FAILURES} files failed on it in turn")
            yield from self._give_back(worker)

    def _give_back(self, worker: "Worker") -> Iterator[Finished]:
        """Puts back what a lost worker had; what came back before fails."""
        lost = sorted(worker.given, reverse=True)
        worker.given.clear()
        again = [index for index in lost if self._put_back(index, worker)]
        reason = self._pool.latest_failure
        if self._pool.workers:
            files = "1 file goes" if len(again) == 1 else f"{len(again)} files go"
            self._pool.on_warning(f"{reason}; {files} to the others")
        for index in set(lost).difference(again):
            yield Finished(index, 0.0, error=ImplementationFailedError(reason))

    def _put_back(self, index: int, worker: "Worker") -> bool:
        self._n_repeated[index] = self._n_shown[index]
        return self._queue.give_back(index, worker)
