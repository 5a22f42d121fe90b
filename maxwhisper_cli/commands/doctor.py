"""Command `maxwhisper doctor`: one page about this machine, for a bug report."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from maxwhisper_cli.commands.config import settings_of
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.doctor.report import FAIL, PASS, SKIPPED, Check, Report
from weights.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {PASS: "green", FAIL: "bold red", SKIPPED: "yellow"}
_MIN_VALUE_WIDTH = 24
"""Smallest width of values beside their names; below it they go on lines of their own."""
_MAX_NAME_WIDTH = 24


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    is_full: Annotated[
        bool, typer.Option("--full", help="Also compile code, for as long as it takes.")
    ] = False,
) -> None:
    """Show what is installed, what works and what to do, on a page to paste into a bug report.

    The exit code is 1 if nothing can run here. Names and passwords are left out.
    """
    from maxwhisper_cli.doctor.examination import examine

    report = examine(settings_of(context), is_full=is_full)
    terminal = Terminal()
    if as_json:
        document = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
        terminal.document(f"{document}\n")
    else:
        _show(report, terminal)
    if not report.can_run:
        raise typer.Exit(1)


def _show(report: Report, terminal: Terminal) -> None:
    for section in report.sections:
        rows = [(fact.name, Text(printable(fact.value))) for fact in section.facts]
        _show_rows(section.title, rows, terminal)
    _show_rows("checks", [(check.name, _outcome(check)) for check in report.checks], terminal)


def _outcome(check: Check) -> Text:
    detail = f"  {printable(check.detail)}" if check.detail else ""
    return Text.assemble((check.outcome, _STYLES[check.outcome]), detail)


def _show_rows(title: str, rows: list[tuple[str, Text]], terminal: Terminal) -> None:
    """Prints names and values: in whole lines, or on a terminal as its width allows."""
    from rich.padding import Padding
    from rich.table import Table

    name_width = min(_MAX_NAME_WIDTH, max(len(name) for name, _ in rows))
    if not terminal.is_interactive:  # whole lines, for a bug report
        terminal.line(title)
        for name, value in rows:
            terminal.line(f"  {name:{name_width}}  {value.plain}".rstrip())
        return
    terminal.show(Text(title, style="bold"))
    if terminal.width < name_width + _MIN_VALUE_WIDTH:
        for name, value in rows:
            terminal.show(Padding(Text(printable(name), overflow="fold"), (0, 0, 0, 2)))
            terminal.show(Padding(value, (0, 0, 0, 4)))
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=0)
    grid.add_column(width=name_width, overflow="fold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        shown: RenderableType = Text(printable(name))
        grid.add_row("", shown, value)
    terminal.show(grid)


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command()(doctor)
