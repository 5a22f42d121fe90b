"""Progress of a run over units: a table that is redrawn, lines on stderr, or JSON on stdout."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from maxwhisper_cli.cluster.progress import Tally
from maxwhisper_cli.console import Column, Terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = (
    Column("worker", is_name=True),
    Column("units", is_number=True),
    Column("audio", is_number=True),
    Column("speed", is_number=True),
    Column("waits for reading", is_number=True),
)


class UnitsDisplay:
    """Shows the state of a run; a context manager."""

    def __init__(self, terminal: Terminal, tally: Tally, *, is_jsonl: bool) -> None:
        """Shows nothing yet.

        Args:
            terminal: Where it is shown.
            tally: The state.
            is_jsonl: True prints a line of JSON on stdout for each unit.
        """
        self._terminal = terminal
        self._tally = tally
        self._is_jsonl = is_jsonl
        self._resources = ExitStack()

        self._is_drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()
        if self._is_drawn and self._terminal.draws_live:
            self._terminal.note(self._tally.line())
        if self._tally.n_workers > 1 and self._tally.n_done and not self._terminal.is_quiet:
            self._terminal.summary(_COLUMNS, self._tally.rows())

    def show(self, line: Mapping[str, object]) -> None:
        """Shows that a unit is done; from the first on the table is drawn."""
        if not self._is_drawn:
            self._is_drawn = True
            self._resources.enter_context(self._terminal.live(self))
        if self._is_jsonl:
            self._terminal.document(f"{json.dumps(line)}\n")
        if not self._terminal.draws_live:
            self._terminal.note(self._tally.line())

    def __rich__(self) -> "RenderableType":
        """Returns what is drawn: a row for each worker, and the line of all."""
        from rich.console import Group
        from rich.text import Text

        from maxwhisper_cli.tables import make_table

        table = make_table(_COLUMNS, self._tally.rows(), self._terminal.width, is_ruled=True)
        return Group(table, Text(self._tally.line()))
