"""Engine of one model: recordings are read by some threads and decoded together by one.

Comes in: jobs, at any time. Goes out: events of each job. Windows of all recordings share the rows
of the implementation (`throughput/scheduler.py`), each recording at the same pace; none changes the
text of another. It does not know HTTP.
"""

import heapq
import itertools
import logging
import time
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from threading import Condition, Thread
from typing import Final

from implementations.implementation import Implementation
from implementations.memory import translate_out_of_memory
from maxwhisper_cli.recording import Recording, RecordingReader
from maxwhisper_cli.serve.jobs import CancelledJobError, Job
from maxwhisper_cli.throughput.scheduler import Scheduler
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.speakers import start_run
from maxwhisper_cli.transcription.steps import DecodedPart, Run
from weights.closing import Closing
from weights.errors import MaxWhisperError

_log = logging.getLogger(__name__)
_END_SECONDS: Final = 30.0
"""Longest wait for a thread that is to end."""


class StoppingError(MaxWhisperError):
    """The server ends before the recording was decoded."""

    def __init__(self) -> None:
        super().__init__("the server is stopping: try again")


@dataclass(frozen=True, slots=True)
class _Open:
    """A recording that is read, and later decoded."""

    job: Job
    recording: Recording
    resources: ExitStack
    n_bytes: int


class Engine(Closing):
    """Threads of one model; a context manager that ends them."""

    def __init__(
        self,
        implementation: Implementation,
        reader: RecordingReader,
        n_rows: int,
        n_readers: int,
        max_opened_bytes: int,
    ) -> None:
        """Starts the threads.

        Args:
            implementation: The model.
            reader: Reader of recordings for it.
            n_rows: Windows to decode side by side.
            n_readers: Threads that read recordings.
            max_opened_bytes: Bytes of mel frames above which no further recording is read.
        """
        self._implementation = implementation
        self._reader = reader
        self._n_rows = n_rows
        self._max_opened_bytes = max_opened_bytes
        self._changed = Condition()
        self._numbers = itertools.count()
        self._to_read: list[tuple[float, int, Job]] = []
        """Heap of the jobs that nobody has begun with."""
        self._ready: deque[_Open] = deque()
        self._active: dict[Run, _Open] = {}
        self._n_reading = 0
        self._n_opened_bytes = 0
        self._is_over = False
        self._scheduler = self._new_scheduler()
        self._threads = [
            Thread(target=target, name=name, daemon=True)
            for target, name in (
                (self._decode_on, "decoder"),
                *((self._read_on, f"reader {number}") for number in range(n_readers)),
            )
        ]
        for thread in self._threads:
            thread.start()

    @property
    def n_waiting(self) -> int:
        """Jobs that are not decoded yet."""
        return len(self._to_read) + self._n_reading + len(self._ready)

    @property
    def n_active(self) -> int:
        """Recordings that are being decoded."""
        return len(self._active)

    @property
    def n_in_rows(self) -> int:
        """Windows that are being decoded."""
        return self._scheduler.n_in_rows

    def submit(self, job: Job) -> None:
        """Queues a job; its upload is removed once it was read."""
        with self._changed:
            if self._is_over:
                job.upload.close()
                job.put(StoppingError())
                return
            heapq.heappush(self._to_read, (job.due, next(self._numbers), job))
            self._changed.notify_all()

    def refuse_waiting(self) -> None:
        """Ends all jobs that nobody has begun to decode, as the server is stopping."""
        with self._changed:
            waiting, self._to_read = self._to_read, []
            opened, self._ready = self._ready, deque()
        for _, _, job in waiting:
            job.upload.close()
            job.put(StoppingError())
        for each in opened:
            each.job.put(StoppingError())
            self._release(each)

    def close(self) -> None:
        """Ends the threads, and all jobs with an error; harmless when repeated."""
        with self._changed:
            self._is_over = True
            for each in list(self._active.values()):
                each.job.put(StoppingError())
                each.job.cancel()
            self._changed.notify_all()
        self.refuse_waiting()
        for thread in self._threads:
            thread.join(_END_SECONDS)
        self.refuse_waiting()

    def _new_scheduler(self) -> Scheduler:
        return Scheduler(self._implementation, self._n_rows, on_warning=_log.warning, is_fair=True)

    # Readers

    def _read_on(self) -> None:
        """Reads one recording after the other, in a thread."""
        while (job := self._next_to_read()) is not None:
            try:
                opened = self._read(job)
            finally:
                job.upload.close()
            with self._changed:
                self._n_reading -= 1
                if opened is not None:
                    self._n_opened_bytes += opened.n_bytes
                    self._ready.append(opened)
                self._changed.notify_all()

    def _next_to_read(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._may_read)
            if self._is_over:
                return None
            self._n_reading += 1
            return heapq.heappop(self._to_read)[2]

    @property
    def _may_read(self) -> bool:
        return bool(self._to_read) and self._n_opened_bytes < self._max_opened_bytes

    def _read(self, job: Job) -> _Open | None:
        reader = replace(self._reader, n_threads=1, admit=job.admit)
        request = job.request
        try:
            if job.is_cancelled:
                return None
            with ExitStack() as resources:
                recording = resources.enter_context(
                    reader.open(job.upload.file, request.options, request.reading)
                )
                return _Open(job, recording, resources.pop_all(), _n_bytes(recording))
        except CancelledJobError:
            return None
        except Exception as error:  # noqa: BLE001  (the client's coroutine says what it was)
            job.put(error)
            return None

    # The decoder

    def _decode_on(self) -> None:
        """Decodes all that was read, in a thread."""
        while self._wait_for_work():
            self._start_some()
            self._drop_cancelled()
            if self._active:
                self._advance()
        self._scheduler.close()
        for run in list(self._active):
            self._end(run)

    def _wait_for_work(self) -> bool:
        """Waits for a recording; returns False at the end."""
        with self._changed:
            if not (self._ready or self._active or self._is_over):
                self._scheduler.close()  # frees the rows
            self._changed.wait_for(lambda: self._is_over or self._ready or self._active)
            return not self._is_over

    def _start_some(self) -> None:
        """Starts recordings, no more at once than there are rows: each may detect its language."""
        for _ in range(self._n_rows):
            with self._changed:
                if not self._ready:
                    return
                opened = self._ready.popleft()
            self._start(opened)

    def _start(self, opened: _Open) -> None:
        job = opened.job
        if job.is_cancelled:
            self._release(opened)
            return
        try:
            with translate_out_of_memory(self._implementation.device):
                run = start_run(self._implementation, opened.recording.mel, job.request.options)
        except Exception as error:  # noqa: BLE001  (as above)
            job.put(error)
            self._release(opened)
            return
        job.begun_at = time.monotonic()
        self._active[run] = opened
        self._scheduler.add(run, lambda: not job.is_cancelled)
        job.put(DecodedPart((), run.progress))
        if run.is_done:  # there is nothing in it
            self._finish(run)

    def _drop_cancelled(self) -> None:
        for run in [run for run, opened in self._active.items() if opened.job.is_cancelled]:
            self._scheduler.drop(run)
            self._end(run)

    def _advance(self) -> None:
        """Decodes until windows are done, and sends them."""
        try:
            outcomes = self._scheduler.decode()
        except Exception as error:  # noqa: BLE001  (it is reported to all)
            _log.exception("decoding failed")
            self._fail_all(error)
            return
        for run, outcome in outcomes:
            if run in self._active:
                self._active[run].job.put(outcome)
        for run in dict.fromkeys(run for run, _ in outcomes):
            if any(isinstance(outcome, MaxWhisperError) for of, outcome in outcomes if of is run):
                self._end(run)
            elif run.is_done:
                self._finish(run)

    def _fail_all(self, error: Exception) -> None:
        """Ends all recordings after a failure that is none of theirs."""
        for run in list(self._active):
            self._active[run].job.put(error)
            self._end(run)
        self._scheduler.close()
        self._scheduler = self._new_scheduler()

    def _finish(self, run: Run) -> None:
        opened = self._active[run]
        transcript = run.transcript
        warnings = (*opened.recording.warnings, *transcript.warnings)
        self._end(run)  # before the client knows
        opened.job.put(replace(transcript, warnings=warnings))

    def _end(self, run: Run) -> None:
        opened = self._active.pop(run, None)
        if opened is not None:
            self._release(opened)

    def _release(self, opened: _Open) -> None:
        """Frees a recording."""
        opened.resources.close()
        with self._changed:
            self._n_opened_bytes -= opened.n_bytes
            self._changed.notify_all()


def _n_bytes(recording: Recording) -> int:
    """Returns the bytes of a recording's mel frames."""
    mel = recording.mel
    mels: Iterable[MelSpectrogram]
    mels = [mel] if isinstance(mel, MelSpectrogram) else mel.by_speaker.values()
    return sum(4 * each.n_content_frames * each.n_mels for each in mels)
