"""Driving of runs and steps in tests, one need after the other or in rows."""

from collections.abc import Generator, Iterator
from typing import TypeVar

from implementations.implementation import Implementation
from maxwhisper_cli.throughput.rows import decode_in_rows
from maxwhisper_cli.throughput.scheduler import Scheduler
from maxwhisper_cli.transcription.drivers import answer_alone, decode_in_turn
from maxwhisper_cli.transcription.steps import DecodedPart, Run, Step
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch

Result = TypeVar("Result")


def finish(
    implementation: Implementation,
    steps: Generator[Step, None, Result],
    stopwatch: Stopwatch = STOPPED,
) -> Result:
    """Answers each step and returns the generator's result."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        answer_alone(implementation, step, stopwatch)


def parts(
    implementation: Implementation, run: Run, n_rows: int = 1, stopwatch: Stopwatch = STOPPED
) -> Iterator[DecodedPart]:
    """Decodes a run in turn, or in rows if there are more than one."""
    if n_rows == 1:
        return decode_in_turn(implementation, run, stopwatch)
    return decode_in_rows(Scheduler(implementation, n_rows, stopwatch), run)
