"""All terminal output: results on stdout, everything else on stderr.

On a terminal there is colour and layout; piped, text goes out line by line and plain. Which of
both it is, the stream itself says, and no variable of the environment. Nothing here knows what the
words mean; names are shown with their control characters escaped. Rich is imported where something
is drawn: lines that go into a pipe need nothing of it.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING

from maxwhisper_cli.log import current_log
from maxwhisper_cli.standard_streams import ClosedStreamError
from maxwhisper_cli.tables import Column, make_table
from weights.errors import MaxWhisperError
from weights.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

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
        self._log = current_log()
        self.is_quiet = is_quiet or not self._log.shows("info")
        """True if only warnings and errors are printed."""
        self._needs_reader = needs_reader
        self._lost_results: MaxWhisperError | None = None
        self._is_left = False
        """True if the reader of stdout is gone."""
        self.is_interactive = _is_terminal(sys.stdout)
        """True if stdout is a terminal."""
        self._draws_errors = _is_terminal(sys.stderr)

    @cached_property
    def _out(self) -> "Console":
        from maxwhisper_cli.drawing import results_console

        return results_console(
            is_terminal=self.is_interactive,
            has_colour=self.is_interactive or _forces_colour(),
            on_broken_pipe=self._lose_reader,
        )

    @cached_property
    def _err(self) -> "Console":
        from maxwhisper_cli.drawing import errors_console

        is_one = self.is_interactive and self._draws_errors and _are_one(sys.stdout, sys.stderr)
        if is_one:
            return self._out
        has_colour = self._draws_errors or _forces_colour()
        return errors_console(is_terminal=self._draws_errors, has_colour=has_colour)

    def timed_line(self, times: str, text: str) -> None:
        """Prints a result with its times: `[00:00.000 --> 00:07.000]  text`."""
        text = printable(text, keep="\n\t")
        if not self.is_interactive and not _forces_colour():
            self._result(lambda: self._plain_line(f"[{times}] {text}"))
            return
        from rich.text import Text

        if not self.is_interactive:
            coloured = Text.assemble((f"[{times}]", "cyan"), f" {text}")
            self._result(lambda: self._out.print(coloured, soft_wrap=True))
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
        write = partial(self._out.out, highlight=False) if self.is_interactive else self._plain_line
        self._result(lambda: write(printable(text)))

    def document(self, text: str) -> None:
        """Writes a finished document to stdout, in UTF-8 whatever the terminal's encoding.

        Raises:
            OutputError: Stdout takes no more.
        """
        sys.stdout.flush()
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is None:  # a text stream put in stdout's place
            sys.stdout.write(text)
        else:
            buffer.write(text.encode("utf-8", errors="backslashreplace"))
        sys.stdout.flush()

    def record(self, text: str) -> None:
        """Writes a result in UTF-8, as `document`; a stdout that is lost counts as for lines."""
        if self._is_left:
            return
        try:
            self._result(lambda: self.document(text))
        except BrokenPipeError:
            self._lose_reader()

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
            self._line("info", "", message, style="dim")

    def warning(self, message: str) -> None:
        """Prints a warning on stderr."""
        self._line("warning", "warning: ", message, style="bold yellow")

    def error(self, message: str) -> None:
        """Prints an error on stderr."""
        self._line("error", "error: ", message, style="bold red")

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table as a result, on stdout."""
        table = make_table(columns, rows, self._out.width, is_ruled=self.is_interactive)
        self._result(lambda: self._out.print(table))

    def summary(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table on stderr; a line of JSON for each row, if lines are JSON."""
        if self._log.is_json:
            for row in rows if self._log.shows("info") else ():
                titles = (column.title for column in columns)
                self._log.write("info", "file", **dict(zip(titles, row, strict=True)))
            return
        self._err.print(make_table(columns, rows, self._err.width, is_ruled=self._draws_errors))

    @property
    def width(self) -> int:
        """Characters per line of stdout; 80 if it is no terminal."""
        return self._out.width if self.is_interactive else _PIPE_WIDTH

    @property
    def can_ask(self) -> bool:
        """True if a user can read a question and answer it."""
        return self._draws_errors and _is_terminal(sys.stdin)

    @property
    def draws_live(self) -> bool:
        """True if live displays are drawn on stderr."""
        return self._draws_errors and not self.is_quiet and not self._log.is_json

    def styled_line(self, text: "Text") -> None:
        """Prints a line as a result, without wrapping it, with its colours on a terminal."""
        from rich.text import Text

        shown = printable(text.plain)
        if shown != text.plain:
            text = Text(shown, style=text.style)
        self._result(lambda: self._out.print(text, soft_wrap=True))

    def show(self, renderable: "RenderableType") -> None:
        """Prints a renderable as a result."""
        self._result(lambda: self._out.print(renderable))

    def live(self, renderable: "RenderableType") -> "AbstractContextManager[object]":
        """Draws a renderable several times a second on stderr if that is a terminal."""
        if not self.draws_live:
            return nullcontext()
        from rich.live import Live

        return Live(renderable, console=self._err, refresh_per_second=4, transient=True)

    def live_results(self) -> "Live":
        """Returns a live display of results on stdout, below the lines that are printed."""
        from rich.live import Live

        return Live(
            console=self._out,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def activity(self, *, is_wanted_when_piped: bool = False) -> "AbstractContextManager[Activity]":
        """Returns a live line on stderr; one that shows nothing if stdout or stderr is piped."""
        from maxwhisper_cli.activity import Activity

        is_shown = self.is_interactive or is_wanted_when_piped
        if not self.draws_live or not is_shown:
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

    def _plain_line(self, text: str) -> None:
        """Writes a line to stdout, which is no terminal."""
        if self._is_left:
            return
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self._lose_reader()

    def _lose_reader(self) -> None:
        """Ends the program silently, or continues without output."""
        self._is_left = True
        if self._needs_reader:
            raise SystemExit(1)

    def _line(self, level: str, heading: str, message: str, style: str) -> None:
        """Prints a line on stderr; its style is that of the heading, or of all if there is none."""
        if not self._log.shows(level):
            return
        message = printable(message)
        if self._log.is_json:
            self._log.write(level, message)
            return
        if not self._draws_errors and not _forces_colour():
            sys.stderr.write(f"{heading}{message}\n")
            sys.stderr.flush()
            return
        from rich.text import Text

        text = Text.assemble((heading, style), message) if heading else Text(message, style=style)
        self._err.print(text, soft_wrap=not self._draws_errors)


def _forces_colour() -> bool:
    """Returns True if CLICOLOR_FORCE wants colour in pipes too, and NO_COLOR does not forbid it."""
    return os.environ.get("CLICOLOR_FORCE", "0") not in {"", "0"} and not os.environ.get("NO_COLOR")


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
