"""Progress display of a comparison: one lane per implementation on a terminal, notes in a pipe."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from maxwhisper_cli.compare.messages import Advanced, Loaded, Measured, Message, Stage
from maxwhisper_cli.compare.runner import Outcome
from maxwhisper_cli.console import Terminal
from weights.printable import printable

_MARKS = {
    "ok": ("done", "green"),
    "unavailable": ("unavailable", "dim"),
    "failed": ("failed", "red"),
}


@dataclass(slots=True)
class _Lane:
    """State of one implementation."""

    name: str
    text: str = "waiting"
    style: str = "dim"
    is_running: bool = False
    n_done: float = 0.0
    """Finished runs, with the fraction of the current one."""
    start_time: float = 0.0
    seconds: float = 0.0


class Board:
    """One lane for each implementation; a renderable that is redrawn several times a second."""

    def __init__(
        self, names: Sequence[str], files: Sequence[str], n_runs: int, terminal: Terminal
    ) -> None:
        self._lanes = {name: _Lane(name) for name in names}
        self._files = list(files)
        self._n_runs = n_runs
        self._terminal = terminal
        self._spinner = Spinner("dots")

    def start(self, name: str) -> None:
        """Marks an implementation's process as started."""
        lane = self._lanes[name]
        lane.is_running, lane.style, lane.text = True, "", "starting"
        lane.start_time = time.perf_counter()

    def on_message(self, name: str, message: Message) -> None:
        """Updates an implementation's lane by a message of its worker."""
        lane = self._lanes[name]
        if isinstance(message, Stage):
            lane.text = message.words
            self._note(f"{name}: {message.words}")
        elif isinstance(message, Loaded):
            self._note(f"{name}: loaded in {message.load_seconds:.1f} s, on {message.device}")
        elif isinstance(message, Advanced):
            run = f"run {message.run} of {self._n_runs}" if message.run else "warming up"
            lane.text = f"{Path(message.file).name}: {run}"
            part = message.done_seconds / max(message.total_seconds, 1e-9)
            before = self._files.index(message.file) * (self._n_runs + 1)
            lane.n_done = before + message.run + min(part, 1.0)
        elif isinstance(message, Measured):
            runs = ", ".join(f"{s:.2f}" for s in message.measurement.run_seconds)
            self._note(f"{name}: {Path(message.measurement.file).name}: {runs} s")

    def finish(self, outcome: Outcome) -> None:
        """Marks an implementation's process as ended, with its outcome."""
        lane = self._lanes[outcome.implementation]
        word, lane.style = _MARKS[outcome.status]
        lane.text = f"{word}: {outcome.reason}" if outcome.reason else word
        if lane.is_running:
            lane.is_running, lane.seconds = False, time.perf_counter() - lane.start_time
        if outcome.status != "ok":
            self._note(f"{outcome.implementation}: {lane.text}")

    def __rich__(self) -> Table:
        """Returns the lanes as they are now."""
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
        grid.add_column(ratio=2)
        grid.add_column(justify="right", no_wrap=True)
        n_all = len(self._files) * (self._n_runs + 1)
        for lane in self._lanes.values():
            seconds = time.perf_counter() - lane.start_time if lane.is_running else lane.seconds
            grid.add_row(
                self._spinner if lane.is_running else "",
                Text(lane.name, style="bold"),
                Text(printable(lane.text), style=lane.style),
                ProgressBar(total=n_all, completed=lane.n_done) if lane.n_done else "",
                f"{seconds:.0f} s" if seconds >= 1 else "",
            )
        return grid

    def _note(self, text: str) -> None:
        if not self._terminal.draws_live:
            self._terminal.note(text)
