"""Table of `--timings`: the time of a run by activity, which adds up to the whole process."""

import os
import time
from pathlib import Path

from maxwhisper_cli.console import Column, Terminal
from maxwhisper_cli.transcription.stopwatch import RunningStopwatch, Spent

_COLUMNS = (
    Column("where the time went", is_name=True),
    Column("s", is_number=True),
    Column("%", is_number=True),
    Column("of which"),
)
_WIDE = 64
"""Characters per line that fit all columns."""
_ORDER = (
    "starting",
    "imports",
    "framework",
    "model file",
    "compiling",
    "graphs and weights",
    "audio",
    "speech",
    "mel",
    "tokenizer",
    "encoder",
    "language",
    "decoder: prompts",
    "decoder: steps",
    "decoder: all else",
    "words",
    "text",
    "writing",
)
_COUNTED = {
    "encoder": "window",
    "decoder: prompts": "prompt",
    "decoder: steps": "step",
    "words": "window",
}
"""Activities that have a count, with the name of activity is counted."""


class Timings:
    """Stopwatch of a whole process, and its table."""

    def __init__(self) -> None:
        self._start_seconds = _process_seconds() or 0.0
        self._start_time = time.perf_counter()
        self.stopwatch = RunningStopwatch()

    def show(self, terminal: Terminal) -> None:
        """Prints the table on stderr, without the end of the process."""
        spent = {"starting": Spent(self._start_seconds, 1), **self.stopwatch.spent}
        spent = {activity: spent[activity] for activity in _ORDER if activity in spent}
        total = self._start_seconds + time.perf_counter() - self._start_time
        counted = sum(each.seconds for each in spent.values())
        rows = [_row(activity, each, total) for activity, each in spent.items()]
        rows.append(_row("other", Spent(total - counted, 1), total))
        rows.append(_row("all", Spent(total, 1), total))
        n_columns = len(_COLUMNS) - (terminal.width < _WIDE)
        terminal.summary(_COLUMNS[:n_columns], (row[:n_columns] for row in rows))


def _row(activity: str, spent: Spent, total: float) -> tuple[str, str, str, str]:
    share = f"{100 * spent.seconds / max(total, 1e-9):.0f}"
    return activity, f"{spent.seconds:.3f}", share, _per_item(activity, spent)


def _per_item(activity: str, spent: Spent) -> str:
    """Returns `27 steps of 4.8 ms` for activities that have a count, else nothing."""
    item = _COUNTED.get(activity)
    if item is None or spent.n_times == 0:
        return ""
    plural = "s" * (spent.n_times > 1)
    return f"{spent.n_times} {item}{plural} of {1e3 * spent.seconds / spent.n_times:.1f} ms"


def _process_seconds() -> float | None:
    """Returns the age of this process, to 10 ms; None if the system has no /proc."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    started_ticks = int(stat.rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
