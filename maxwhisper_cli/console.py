"""The one place that talks to the terminal: results on stdout, everything else on stderr.

On a terminal there is colour and layout; piped, text goes out line by line and plain. Nothing
here knows what the words mean.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from maxwhisper_cli.activity import Activity

_PIPE_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    is_number: bool = False
    is_name: bool = False
    """A name is never wrapped."""


class Terminal:
    """Stdout and stderr, as terminals or as pipes.

    Where both are the same terminal they share one console, so that text goes above a live bar and
    not through it.
    """

    def __init__(self, *, is_quiet: bool = False) -> None:
        self.is_quiet = is_quiet
        """Whether only warnings and errors are wanted."""
        self._out = _console(stderr=False)
        self._err = _console(stderr=True)
        if self._out.is_terminal and self._err.is_terminal:
            self._err = self._out

    @property
    def is_interactive(self) -> bool:
        """Whether someone is looking at stdout."""
        return self._out.is_terminal

    def timed_line(self, times: str, text: str) -> None:
        """Prints a result with its times: `[00:00.000 --> 00:07.000]  text`."""
        if not self._out.is_terminal:
            self._out.out(f"[{times}] {text}", highlight=False)
            return
        from rich.table import Table

        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="cyan")
        grid.add_column(overflow="fold")
        grid.add_row(f"[{times}]", Text(text))
        self._out.print(grid)

    def line(self, text: str) -> None:
        """Prints a line as a result, as long as it is."""
        self._out.out(text, highlight=False)

    def document(self, text: str) -> None:
        """Writes a finished document to stdout, in UTF-8 whatever the terminal's encoding."""
        self._out.file.flush()
        buffer = getattr(self._out.file, "buffer", None)
        if buffer is None:  # a text stream put in stdout's place
            self._out.file.write(text)
        else:
            buffer.write(text.encode("utf-8", errors="backslashreplace"))
        self._out.file.flush()

    def note(self, message: str) -> None:
        """Says on stderr how things go, unless told to be quiet."""
        if not self.is_quiet:
            self._line(Text(message, style="dim"))

    def warning(self, message: str) -> None:
        """Says on stderr what the user should know."""
        self._line(Text.assemble(("warning: ", "bold yellow"), message))

    def error(self, message: str) -> None:
        """Says on stderr what went wrong."""
        self._line(Text.assemble(("error: ", "bold red"), message))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table as a result, on stdout."""
        self._out.print(_table(self._out, columns, rows))

    def summary(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table on stderr."""
        self._err.print(_table(self._err, columns, rows))

    @property
    def width(self) -> int:
        """Characters to a line of stdout; 80 where it is no terminal."""
        return self._out.width if self._out.is_terminal else _PIPE_WIDTH

    @property
    def draws_live(self) -> bool:
        """Whether stderr shows what is drawn anew again and again."""
        return self._err.is_terminal and not self.is_quiet

    def styled_line(self, text: Text) -> None:
        """Prints a line as a result, as long as it is, with its colours on a terminal."""
        self._out.print(text, soft_wrap=True)

    def show(self, what: "RenderableType") -> None:
        """Prints something with a layout of its own as a result."""
        self._out.print(what)

    def live(self, what: "RenderableType") -> "AbstractContextManager[object]":
        """Draws something several times a second on stderr, where it can be; gone afterwards."""
        from rich.live import Live

        if not self.draws_live:
            return nullcontext()
        return Live(what, console=self._err, refresh_per_second=4, transient=True)

    def activity(self, *, is_wanted_when_piped: bool = False) -> "AbstractContextManager[Activity]":
        """Returns a live line on stderr; none where nobody looks, or stdout is piped on."""
        from maxwhisper_cli.activity import Activity

        is_seen = self._out.is_terminal or is_wanted_when_piped
        if self.is_quiet or not self._err.is_terminal or not is_seen:
            return nullcontext(Activity())
        from maxwhisper_cli.live_activity import LiveActivity

        return LiveActivity(self._err)

    def _line(self, text: Text) -> None:
        if self._err.is_terminal:
            self._err.print(text)
        else:
            self._err.out(text.plain, highlight=False)


def _console(*, stderr: bool) -> Console:
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def _table(console: Console, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        pad_edge=False,
        header_style="bold",
    )
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number or column.is_name,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
