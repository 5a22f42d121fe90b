"""`--timings`: where the time of a run went, as a table that adds up to the whole process."""

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
"""Characters to a line that hold all columns."""
_ORDER = (
    "starting",
    "imports",
    "model file",
    "compiling",
    "graphs and weights",
    "audio",
    "mel",
    "tokenizer",
    "encoder",
    "language",
    "decoder: prompts",
    "decoder: steps",
    "decoder: all else",
    "text",
    "writing",
)
_COUNTED = {
    "encoder": "window",
    "decoder: prompts": "prompt",
    "decoder: steps": "step",
}
"""What is told by the piece, and what a piece is called."""


class Timings:
    """A stopwatch for a whole process, and its table."""

    def __init__(self) -> None:
        self._start_seconds = _process_seconds() or 0.0
        self._began = time.perf_counter()
        self.stopwatch = RunningStopwatch()

    def show(self, terminal: Terminal) -> None:
        """Prints the table on stderr; the end of the process, after it, is not in it."""
        spent = {"starting": Spent(self._start_seconds, 1), **self.stopwatch.spent}
        spent = {what: spent[what] for what in _ORDER if what in spent}
        total = self._start_seconds + time.perf_counter() - self._began
        known = sum(each.seconds for each in spent.values())
        rows = [_row(what, each, total) for what, each in spent.items()]
        rows.append(_row("other", Spent(total - known, 1), total))
        rows.append(_row("all", Spent(total, 1), total))
        n_columns = len(_COLUMNS) - (terminal.width < _WIDE)
        terminal.summary(_COLUMNS[:n_columns], (row[:n_columns] for row in rows))


def _row(what: str, spent: Spent, total: float) -> tuple[str, str, str, str]:
    share = f"{100 * spent.seconds / max(total, 1e-9):.0f}"
    return what, f"{spent.seconds:.3f}", share, _pieces(what, spent)


def _pieces(what: str, spent: Spent) -> str:
    """`27 steps of 4.8 ms`, for what is done by the piece."""
    piece = _COUNTED.get(what)
    if piece is None or spent.n_times == 0:
        return ""
    plural = "s" * (spent.n_times > 1)
    return f"{spent.n_times} {piece}{plural} of {1e3 * spent.seconds / spent.n_times:.1f} ms"


def _process_seconds() -> float | None:
    """How long this process has been there, to 10 ms; None where the system does not tell."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    started_ticks = int(stat.rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
