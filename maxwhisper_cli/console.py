"""All terminal output: results on stdout, everything else on stderr.

On a terminal there is colour and layout; piped, text goes out line by line and plain. Which of
both it is, the stream itself says, and no variable of the environment. Nothing here knows what the
words mean; names are shown with their control characters escaped.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import IO, TYPE_CHECKING, TypedDict

from rich.console import Console
from rich.text import Text

from maxwhisper_cli.standard_streams import ClosedStreamError
from maxwhisper_cli.tables import Column, make_table
from weights.errors import MaxWhisperError
from weights.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maxwhisper_cli.activity import Activity

__all__ = ["Column", "Terminal"]

_PIPE_WIDTH = 80
_MIN_TEXT_WIDTH = 18
"""Smallest width of text beside its times; below it the text goes on the next line."""


class Terminal:
    """Stdout and stderr, as terminals or as pipes.

    If both are the same terminal they share one console, so that text appears above a live bar.
    """

    def __init__(self, *, is_quiet: bool = False, needs_reader: bool = True) -> None:
        """Examines both streams.

        Args:
            is_quiet: True prints only warnings and errors.
            needs_reader: False continues if stdout fails, since the results also go into
                files; `check_results` then raises the error.
        """
        self.is_quiet = is_quiet
        """True if only warnings and errors are printed."""
        self._needs_reader = needs_reader
        self._lost_results: MaxWhisperError | None = None
        self._out = _ResultsConsole(_console_settings(sys.stdout), needs_reader=needs_reader)
        self._err = Console(stderr=True, **_console_settings(sys.stderr))
        if self._out.is_terminal and self._err.is_terminal and _are_one(sys.stdout, sys.stderr):
            self._err = self._out

    @property
    def is_interactive(self) -> bool:
        """True if stdout is a terminal."""
        return self._out.is_terminal

    def timed_line(self, times: str, text: str) -> None:
        """Prints a result with its times: `[00:00.000 --> 00:07.000]  text`."""
        text = printable(text, keep="\n\t")
        if not self._out.is_terminal:
            self._result(lambda: self._out.out(f"[{times}] {text}", highlight=False))
            return
        if self._out.width < len(times) + _MIN_TEXT_WIDTH:
            lines = Text.assemble((f"[{times}]", "cyan"), f"\n{text}")
            self._result(lambda: self._out.print(lines))
            return
        from rich.table import Table

        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="cyan")
        grid.add_column(overflow="fold")
        grid.add_row(f"[{times}]", Text(text))
        self._result(lambda: self._out.print(grid))

    def line(self, text: str) -> None:
        """Prints a line as a result, without wrapping it."""
        self._result(lambda: self._out.out(printable(text), highlight=False))

    def document(self, text: str) -> None:
        """Writes a finished document to stdout, in UTF-8 whatever the terminal's encoding.

        Raises:
            OutputError: Stdout takes no more.
        """
        self._out.file.flush()
        buffer = getattr(self._out.file, "buffer", None)
        if buffer is None:  # a text stream put in stdout's place
            self._out.file.write(text)
        else:
            buffer.write(text.encode("utf-8", errors="backslashreplace"))
        self._out.file.flush()

    def check_results(self) -> None:
        """Checks that all results could be printed.

        Raises:
            OutputError: Stdout took no more of them. That its reader left is no error.
        """
        if self._lost_results is not None:
            raise self._lost_results

    def note(self, message: str) -> None:
        """Prints progress on stderr, unless the terminal is quiet."""
        if not self.is_quiet:
            self._line(Text(printable(message), style="dim"))

    def warning(self, message: str) -> None:
        """Prints a warning on stderr."""
        self._line(Text.assemble(("warning: ", "bold yellow"), printable(message)))

    def error(self, message: str) -> None:
        """Prints an error on stderr."""
        self._line(Text.assemble(("error: ", "bold red"), printable(message)))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table as a result, on stdout."""
        table = make_table(columns, rows, self._out.width, is_ruled=self._out.is_terminal)
        self._result(lambda: self._out.print(table))

    def summary(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table on stderr."""
        self._err.print(make_table(columns, rows, self._err.width, is_ruled=self._err.is_terminal))

    @property
    def width(self) -> int:
        """Characters per line of stdout; 80 if it is no terminal."""
        return self._out.width if self._out.is_terminal else _PIPE_WIDTH

    @property
    def can_ask(self) -> bool:
        """True if a user can read a question and answer it."""
        return self._err.is_terminal and _is_terminal(sys.stdin)

    @property
    def draws_live(self) -> bool:
        """True if live displays are drawn on stderr."""
        return self._err.is_terminal and not self.is_quiet

    def styled_line(self, text: Text) -> None:
        """Prints a line as a result, without wrapping it, with its colours on a terminal."""
        shown = printable(text.plain)
        if shown != text.plain:
            text = Text(shown, style=text.style)
        self._result(lambda: self._out.print(text, soft_wrap=True))

    def show(self, renderable: "RenderableType") -> None:
        """Prints a renderable as a result."""
        self._result(lambda: self._out.print(renderable))

    def live(self, renderable: "RenderableType") -> "AbstractContextManager[object]":
        """Draws a renderable several times a second on stderr if that is a terminal."""
        from rich.live import Live

        if not self.draws_live:
            return nullcontext()
        return Live(renderable, console=self._err, refresh_per_second=4, transient=True)

    def activity(self, *, is_wanted_when_piped: bool = False) -> "AbstractContextManager[Activity]":
        """Returns a live line on stderr; one that shows nothing if stdout or stderr is piped."""
        from maxwhisper_cli.activity import Activity

        is_shown = self._out.is_terminal or is_wanted_when_piped
        if self.is_quiet or not self._err.is_terminal or not is_shown:
            return nullcontext(Activity())
        from maxwhisper_cli.live_activity import LiveActivity

        return LiveActivity(self._err)

    def _result(self, write: Callable[[], None]) -> None:
        try:
            write()
        except MaxWhisperError as error:
            if self._needs_reader:
                raise
            if not isinstance(error.__cause__, ClosedStreamError):  # which was meant so
                self._lost_results = error

    def _line(self, text: Text) -> None:
        if self._err.is_terminal:
            self._err.print(text)
        else:
            self._err.out(text.plain, highlight=False)


class _ResultsConsole(Console):
    """Console of stdout; without a reader the program ends, unless it also writes files."""

    def __init__(self, settings: "_Settings", *, needs_reader: bool) -> None:
        super().__init__(**settings)
        self._needs_reader = needs_reader

    def on_broken_pipe(self) -> None:
        """Ends the program silently, or continues without output."""
        self.quiet = True
        if self._needs_reader:
            raise SystemExit(1)


class _Settings(TypedDict):
    """Settings of rich's Console, which it would else take from the environment."""

    force_terminal: bool
    force_interactive: bool | None
    force_jupyter: bool
    markup: bool
    highlight: bool
    emoji: bool


def _console_settings(stream: object) -> _Settings:
    is_terminal = _is_terminal(stream)
    return {
        "force_terminal": is_terminal,
        "force_interactive": None if is_terminal else False,
        "force_jupyter": False,
        "markup": False,
        "highlight": False,
        "emoji": False,
    }


def _is_terminal(stream: object) -> bool:
    try:
        return bool(getattr(stream, "isatty", bool)())
    except ValueError:  # it was closed
        return False


def _are_one(first: IO[str], second: IO[str]) -> bool:
    """Returns True if two streams are the same terminal."""
    try:
        return os.path.sameopenfile(first.fileno(), second.fileno())
    except (OSError, ValueError):  # something else put in their place
        return True
