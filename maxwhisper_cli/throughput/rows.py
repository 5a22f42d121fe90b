"""Choice of the way to decode a recording, in turn or in rows, and the report of its parts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from implementations.implementation import Implementation
from maxwhisper_cli.transcription.drivers import decode_in_turn
from maxwhisper_cli.transcription.options import AUTO_ROWS, TranscribeOptions
from maxwhisper_cli.transcription.segments import OnProgress, OnSegment
from maxwhisper_cli.transcription.steps import DecodedPart, Run
from maxwhisper_cli.transcription.stopwatch import Stopwatch
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.throughput.scheduler import OnWarning, Scheduler


class HasRows(Protocol):
    """An implementation, or the facts of one in another process."""

    @property
    def default_rows(self) -> int:
        """Rows that pay best on its device."""


def count_rows(implementation: HasRows, options: TranscribeOptions) -> int:
    """Returns the number of windows decoded side by side; `auto` is the implementation's."""
    if options.batch_size == AUTO_ROWS:
        return implementation.default_rows
    return options.batch_size


def decode_run(
    implementation: Implementation,
    run: Run,
    n_rows: int,
    stopwatch: Stopwatch,
    on_warning: "OnWarning | None",
) -> Iterator[DecodedPart]:
    """Decodes a recording: in rows if there are rows, and sequences for them."""
    if n_rows == 1 or len(run.sequences) == 1:
        return decode_in_turn(implementation, run, stopwatch)
    from maxwhisper_cli.throughput.scheduler import Scheduler

    return decode_in_rows(Scheduler(implementation, n_rows, stopwatch, on_warning), run)


def decode_in_rows(scheduler: "Scheduler", run: Run) -> Iterator[DecodedPart]:
    """Decodes a recording's sequences side by side; the first part has no segments.

    Raises:
        MaxWhisperError: A window cannot be decoded.
    """
    with scheduler:
        yield DecodedPart((), run.progress)
        scheduler.add(run)
        while outcomes := scheduler.decode():
            for _, outcome in outcomes:
                if isinstance(outcome, MaxWhisperError):
                    raise outcome
                yield outcome


def report_part(
    part: DecodedPart, on_segment: OnSegment | None, on_progress: OnProgress | None
) -> None:
    """Calls the callbacks of a recording, if there are any."""
    if on_segment is not None:
        for segment in part.segments:
            on_segment(segment)
    if on_progress is not None:
        on_progress(part.progress)
