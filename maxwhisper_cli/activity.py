"""The live line at the bottom of a terminal: what is being done, how far, how fast.

`Activity` itself shows nothing; it stands where there is no terminal to draw on.
"""

import re
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text


class Activity:
    """What is told to the user while something takes time; here: nothing."""

    is_live = False

    def show(
        self, what: str, done: float = 0, total: float | None = None, detail: str = ""
    ) -> None:
        """Show a task and how much of it is done; without a total, only that it goes on."""

    def show_download(self, what: str, n_done: int, n_total: int | None) -> None:
        """Show how many bytes of a file are here; the total is 0 or None where nobody told it."""
        of_all = f"/{n_total / 1e6:.1f}" if n_total else ""
        self.show(f"downloading {what}", n_done, n_total or None, f"{n_done / 1e6:.1f}{of_all} MB")


class LiveActivity(Activity):
    """Draws a spinner, the task, a bar and a detail; gone without a trace when it is left.

    A task without a total shows for how long it has been going on.
    """

    is_live = True

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis"),
            ),
            BarColumn(bar_width=None, table_column=Column(ratio=3)),
            TextColumn("{task.fields[detail]}", markup=False, table_column=Column(no_wrap=True)),
            _Elapsed(table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
            transient=True,
        )
        self._what: str | None = None
        self._task = self._progress.add_task("", total=None, detail="", visible=False)

    def show(
        self, what: str, done: float = 0, total: float | None = None, detail: str = ""
    ) -> None:
        """Draw it anew."""
        if what != self._what:  # a task anew, so that neither its time nor its total goes on
            self._what = what
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task(what, total=total, detail=detail)
        self._progress.update(
            self._task, description=what, completed=done, total=total, detail=detail
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


class _Elapsed(ProgressColumn):
    """`0:12`, of a task of which nobody knows how long it takes."""

    def render(self, task: Task) -> Text:
        """Draw it from the first second on."""
        seconds = task.elapsed or 0.0
        return Text(clock(seconds) if task.total is None and seconds >= 1 else "")


class Pace:
    """How fast audio is gone through, from the moment this is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self._began

    def detail(self, done: float, total: float) -> str:
        """`1:23/10:00  5.2x  1:40 left`, of seconds of audio."""
        seconds = self.seconds
        position = f"{clock(done)}/{clock(total)}"
        if done <= 0 or seconds <= 0:
            return position
        speed = done / seconds
        return f"{position}  {speed:.1f}x  {clock((total - done) / speed)} left"


def headline(words: str) -> str:
    """What fits into a live line: `compiling 6 graphs (a, b): once` -> `compiling 6 graphs`."""
    return re.split(r" \(|:", words, maxsplit=1)[0]


def clock(seconds: float) -> str:
    """`83.4` -> `1:23`, `3723` -> `1:02:03`."""
    n_minutes, n_seconds = divmod(round(seconds), 60)
    n_hours, n_minutes = divmod(n_minutes, 60)
    if n_hours:
        return f"{n_hours}:{n_minutes:02d}:{n_seconds:02d}"
    return f"{n_minutes}:{n_seconds:02d}"
