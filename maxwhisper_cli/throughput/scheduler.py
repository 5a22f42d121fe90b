"""Scheduler of rows: the windows of many sequences are decoded side by side.

Comes in: runs, each of one or more sequences. Goes out: their windows as they are done. A row that
ends takes the next window that is ready, of whatever recording: earlier recordings come first, or,
if it is fair, all have the same number of windows. A window that fails its thresholds waits for a
row again, by itself. No text depends on the neighbours. Runs may be added and dropped at any time
between two calls. It neither opens recordings nor knows the rules by which these are transcribed.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from implementations.errors import ImplementationFailedError
from implementations.implementation import Implementation
from implementations.memory import translate_out_of_memory
from implementations.row_decoder import RowDecoder, RowResult, RowWindow
from maxwhisper_cli.transcription.drivers import (
    align_windows,
    answer_alone,
    count_times,
    encode_windows,
)
from maxwhisper_cli.transcription.steps import (
    Aligning,
    DecodedPart,
    Decoding,
    Encoding,
    Run,
    Scoring,
    StepSequence,
    WindowDone,
)
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from weights.closing import Closing
from weights.errors import MaxWhisperError

OnWarning = Callable[[str], None]
"""Callback with a message for the user."""
Outcome = tuple[Run, DecodedPart | MaxWhisperError]
"""A window that is done, or the error that ended its run."""


@dataclass(eq=False, slots=True)
class _Task:
    """A sequence that was begun, and what it needs."""

    order: int
    """Number of the sequence in the order of input."""
    run: Run
    sequence: StepSequence
    is_wanted: Callable[[], bool]
    """Returns False once nobody waits for the run."""
    share: int = 0
    """Windows that count as done; a fair scheduler takes the lowest next."""
    need: Encoding | Decoding | Aligning | None = None

    @property
    def rank(self) -> tuple[int, int]:
        """Place among the tasks that wait."""
        return self.share, self.order


class Scheduler(Closing):
    """Rows of one implementation and the runs that share them; a context manager."""

    def __init__(
        self,
        implementation: Implementation,
        n_rows: int,
        stopwatch: Stopwatch = STOPPED,
        on_warning: OnWarning | None = None,
        *,
        is_fair: bool = False,
    ) -> None:
        """Makes a scheduler without runs; rows are opened when there is a window for them.

        Args:
            implementation: The model.
            n_rows: Windows to decode side by side.
            stopwatch: Measures encoder, decoder and words.
            on_warning: Called if memory does not suffice for so many rows.
            is_fair: True if all runs advance at the same pace, and all are begun at once.
        """
        self._implementation = implementation
        self._is_fair = is_fair
        self._share = 0
        """Share of the window that was taken last; a new run begins there."""
        self._n_rows = n_rows
        self._stopwatch = stopwatch
        self._on_warning = on_warning
        self._n_added = 0
        self._queue: deque[_Task] = deque()
        """Sequences that were not begun."""
        self._tasks: list[_Task] = []
        """Sequences that were begun and wait for an answer, in order."""
        self._in_rows: dict[int, _Task] = {}
        self._decoder: RowDecoder | None = None
        self._at_work: list[_Task] = []
        """Tasks of the call that is being made."""
        self._outcomes: list[Outcome] = []

    @property
    def has_free_place(self) -> bool:
        """True if a row or a place before the rows is left for another sequence."""
        return len(self._queue) + self._n_begun < self._n_places

    @property
    def is_idle(self) -> bool:
        """True if no run is left."""
        return not (self._queue or self._tasks or self._in_rows)

    @property
    def n_in_rows(self) -> int:
        """Number of windows that are being decoded."""
        return len(self._in_rows)

    @property
    def _n_begun(self) -> int:
        return len(self._tasks) + len(self._in_rows)

    @property
    def _n_places(self) -> int:
        """Number of sequences at a time: half as many as rows wait with their window encoded."""
        return self._n_rows + self._n_rows // 2

    def add(self, run: Run, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Queues the sequences of a run; they begin as there is room for them.

        Args:
            run: The run.
            is_wanted: Asked while its windows are decoded: once it returns False, they leave their
                rows, and the run ends with UnwantedWindowError.
        """
        for sequence in run.sequences:
            if not sequence.is_done:
                self._queue.append(_Task(self._n_added, run, sequence, is_wanted, self._share))
                self._n_added += 1

    def drop(self, run: Run) -> None:
        """Forgets a run; a row that it still has decodes for nobody."""
        self._queue = deque(task for task in self._queue if task.run is not run)
        self._tasks = [task for task in self._tasks if task.run is not run]
        self._in_rows = {key: task for key, task in self._in_rows.items() if task.run is not run}

    def decode(self) -> list[Outcome]:
        """Decodes until some windows are done or some runs fail; returns none once all are."""
        while True:
            self._begin_sequences()
            if self._outcomes or not (self._tasks or self._in_rows):
                outcomes, self._outcomes = self._outcomes, []
                return outcomes
            try:
                with translate_out_of_memory(self._implementation.device):
                    self._advance()
            except ImplementationFailedError as error:
                self._halve(error)

    def close(self) -> None:
        """Frees the rows; harmless when repeated."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _begin_sequences(self) -> None:
        while self._queue and (self._is_fair or self._n_begun < self._n_places):
            task = self._queue.popleft()
            self._tasks.append(task)
            self._step(task)

    def _step(self, task: _Task) -> None:
        """Goes on to the next need of a waiting task, or to the end of its sequence or run."""
        if task not in self._tasks:  # its run has failed
            return
        try:
            with translate_out_of_memory(self._implementation.device):
                for step in task.sequence.steps:
                    if isinstance(step, Scoring):
                        answer_alone(self._implementation, step, self._stopwatch)
                        continue
                    if not isinstance(step, WindowDone):
                        task.need = step
                        return
                    self._outcomes.append((task.run, task.run.accept(task.sequence, step)))
                    task.share += self._is_fair
                    if task.sequence.is_done:
                        break
            self._tasks.remove(task)
        except MaxWhisperError as error:
            self._fail(task.run, error)

    def _fail(self, run: Run, error: MaxWhisperError) -> None:
        """Drops a run with an error."""
        self._outcomes.append((run, error))
        self.drop(run)

    def _advance(self) -> None:
        """Fills the free rows, and decodes until some of them end."""
        decoder = self._open_rows()
        if len(self._waiting(Decoding)) < decoder.n_free:
            self._align()
        while len(self._waiting(Decoding)) < decoder.n_free:
            if not self._encode():
                break
        self._fill_rows(decoder)
        self._at_work = list(self._in_rows.values())
        with self._stopwatch.on("decoder: all else"):
            results = decoder.advance()
            for result in results:
                if result.decoded is not None:
                    count_times(result.decoded, self._stopwatch)
        for result in results:
            self._take(result)

    def _open_rows(self) -> RowDecoder:
        if self._decoder is None:
            self._at_work = self._tasks[:1]
            self._decoder = self._implementation.row_decoder(self._n_rows)
        return self._decoder

    def _waiting(self, kind: type[Encoding | Decoding | Aligning]) -> list[_Task]:
        waiting = [task for task in self._tasks if isinstance(task.need, kind)]
        return sorted(waiting, key=lambda task: task.rank)

    def _align(self) -> None:
        """Aligns all windows that wait for it."""
        waiting = self._waiting(Aligning)
        for start in range(0, len(waiting), self._n_rows):
            self._at_work = waiting[start : start + self._n_rows]
            needs = [task.need for task in self._at_work if isinstance(task.need, Aligning)]
            align_windows(self._implementation, needs, self._stopwatch)
            for task in self._at_work:
                self._step(task)

    def _encode(self) -> bool:
        """Encodes as many waiting windows as are best at once; False if there is none."""
        n_most = min(self._implementation.windows_at_once, self._n_rows)
        self._at_work = self._waiting(Encoding)[:n_most]
        if not self._at_work:
            return False
        self._share = max(self._share, self._at_work[0].share)
        needs = [task.need for task in self._at_work if isinstance(task.need, Encoding)]
        encoded = encode_windows(self._implementation, needs, self._stopwatch)
        for task, need, features in zip(self._at_work, needs, encoded, strict=True):
            if isinstance(features, MaxWhisperError):
                self._fail(task.run, features)
                continue
            need.give(features)
            self._step(task)
        return True

    def _fill_rows(self, decoder: RowDecoder) -> None:
        self._at_work = ready = self._waiting(Decoding)[: decoder.n_free]
        if not ready:
            return
        with self._stopwatch.on("decoder: all else", 0):
            decoder.add([_row_window(task) for task in ready])
        for task in ready:
            self._tasks.remove(task)
            self._in_rows[task.order] = task

    def _take(self, result: RowResult) -> None:
        """Gives a decoding to its task, which waits again for what it needs next."""
        task = self._in_rows.pop(result.key, None)
        if task is None:  # its run has failed
            return
        if result.decoded is None:
            assert result.error is not None
            self._fail(task.run, result.error)
            return
        assert isinstance(task.need, Decoding)
        task.need.give(result.decoded)
        self._wait(task)
        self._step(task)

    def _wait(self, *tasks: _Task) -> None:
        self._tasks = sorted((*self._tasks, *tasks), key=lambda task: task.order)

    def _halve(self, error: ImplementationFailedError) -> None:
        """Goes on with half of the rows after a failure; with one row, its run fails.

        A row may have decoded for nobody, since its run had failed: then no other one fails.
        """
        lost = list(self._in_rows.values())
        self._in_rows = {}
        self._wait(*lost)
        self.close()
        if self._n_rows > 1:
            self._n_rows //= 2
            if self._on_warning is not None:
                rows = "1 row" if self._n_rows == 1 else f"{self._n_rows} rows"
                self._on_warning(f"going on with {rows}, since more failed: {error}")
            return
        for task in self._at_work[:1]:
            self._fail(task.run, error)


def _row_window(task: _Task) -> RowWindow:
    assert isinstance(task.need, Decoding)
    return RowWindow(task.order, task.need.features, task.need.request, task.is_wanted)
