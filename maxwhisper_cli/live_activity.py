"""Live line at the bottom of a terminal: task, progress and speed."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from maxwhisper_cli.activity import Activity, clock
from weights.printable import printable


class LiveActivity(Activity):
    """Spinner, task, bar and detail on one line, which is erased at the end.

    A task without a total shows its elapsed time.
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
        self._name: str | None = None
        self._task = self._progress.add_task("", total=None, detail="", visible=False)

    def show(
        self, task: str, done: float = 0, total: float | None = None, detail: str = ""
    ) -> None:
        """Redraws the line."""
        task, detail = printable(task), printable(detail)
        if task != self._name:  # a new task, which resets time and total
            self._name = task
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task(task, total=total, detail=detail)
        self._progress.update(
            self._task, description=task, completed=done, total=total, detail=detail
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
    """Elapsed time, `0:12`, of a task without a total."""

    def render(self, task: Task) -> Text:
        """Returns the elapsed time, from the first second on."""
        seconds = task.elapsed or 0.0
        return Text(clock(seconds) if task.total is None and seconds >= 1 else "")
