"""Answers to what live streams need of a model: of one stream, or of many together.

Windows of several streams are encoded in batches, and decoded side by side in the rows of the
implementation. What a stream says does not depend on the others.
"""

import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Generic, TypeVar

import numpy as np

from implementations.implementation import Implementation
from implementations.row_decoder import RowWindow
from maxwhisper_cli.listen.decoding import LiveNeed, WindowEncoding
from maxwhisper_cli.transcription.drivers import align_windows
from maxwhisper_cli.transcription.steps import Aligning, Decoding
from maxwhisper_cli.transcription.stopwatch import STOPPED

Result = TypeVar("Result")
_N_FILL_THREADS: Final = 8
"""Threads that write mel windows, for which a GPU has to wait."""


def run_alone(implementation: Implementation, steps: Generator[LiveNeed, None, Result]) -> Result:
    """Answers the needs of one stream in turn; returns what its steps return."""
    while True:
        try:
            need = next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result
        _answer(implementation, [need])


@dataclass(slots=True)
class _Task(Generic[Result]):
    """Steps of one stream, and what they wait for."""

    index: int
    steps: Generator[LiveNeed, None, Result]
    need: LiveNeed | None = None
    results: list[Result] = field(default_factory=list)

    def go_on(self) -> bool:
        """Goes on to the next need; returns False once there is none."""
        try:
            self.need = next(self.steps)
        except StopIteration as done:
            self.results.append(done.value)
            return False
        return True


def run_together(
    implementation: Implementation, streams: Sequence[Generator[LiveNeed, None, Result]]
) -> list[Result]:
    """Answers the needs of several streams together; returns what the steps of each return."""
    tasks = [_Task(index, steps) for index, steps in enumerate(streams)]
    waiting = [task for task in tasks if task.go_on()]
    while waiting:
        for kind in (WindowEncoding, Decoding, Aligning):
            chosen = [task for task in waiting if isinstance(task.need, kind)]
            if chosen:
                break
        _answer(implementation, [task.need for task in chosen if task.need is not None])
        ended = [task for task in chosen if not task.go_on()]
        waiting = [task for task in waiting if task not in ended]
    return [task.results[0] for task in tasks]


def _answer(implementation: Implementation, needs: Sequence[LiveNeed]) -> None:
    """Answers needs of one kind."""
    if isinstance(needs[0], WindowEncoding):
        _encode(implementation, [need for need in needs if isinstance(need, WindowEncoding)])
    elif isinstance(needs[0], Decoding):
        _decode(implementation, [need for need in needs if isinstance(need, Decoding)])
    else:
        aligning = [need for need in needs if isinstance(need, Aligning)]
        align_windows(implementation, aligning, STOPPED)


def _encode(implementation: Implementation, needs: Sequence[WindowEncoding]) -> None:
    dims, n_most = implementation.dims, implementation.windows_at_once
    for first in range(0, len(needs), n_most):
        batch = needs[first : first + n_most]
        mel = np.empty((len(batch), dims.n_mels, 2 * dims.n_audio_ctx), np.float32)
        if len(batch) == 1:
            batch[0].fill(mel[0])
        else:
            list(_fillers(os.getpid()).map(lambda need, window: need.fill(window), batch, mel))
        features = implementation.encode(mel)
        for index, need in enumerate(batch):
            need.give(features[index])


@cache
def _fillers(_process: int) -> ThreadPoolExecutor:
    """Returns the threads that write mel windows; those of its parent do not live in a fork."""
    return ThreadPoolExecutor(_N_FILL_THREADS, thread_name_prefix="live window")


def _decode(implementation: Implementation, needs: Sequence[Decoding]) -> None:
    n_rows = implementation.default_rows  # always the same, which a GPU keeps from last time
    if min(n_rows, len(needs)) == 1:
        for need in needs:
            need.give(implementation.decode(need.features, need.request))
        return
    with implementation.row_decoder(n_rows) as rows:
        n_added = n_done = 0
        while n_done < len(needs):
            added = range(n_added, min(n_added + rows.n_free, len(needs)))
            windows = [RowWindow(i, needs[i].features, needs[i].request) for i in added]
            if windows:
                rows.add(windows)
            n_added = added.stop
            for result in rows.advance():
                if result.decoded is None:
                    assert result.error is not None
                    raise result.error
                needs[result.key].give(result.decoded)
                n_done += 1
