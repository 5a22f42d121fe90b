"""The live line at the bottom of a terminal: what is being done, how far, how fast."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from maxwhisper_cli.activity import Activity, clock
from weights.printable import printable


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
        """Draws it anew."""
        what, detail = printable(what), printable(detail)
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
        """Draws it from the first second on."""
        seconds = task.elapsed or 0.0
        return Text(clock(seconds) if task.total is None and seconds >= 1 else "")
