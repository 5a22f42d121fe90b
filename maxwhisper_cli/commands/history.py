"""Command `maxwhisper history`: time and accuracy over saved comparisons."""

from pathlib import Path
from typing import Annotated

import typer

from maxwhisper_cli.console import Terminal

HistoryDir = Annotated[
    Path | None,
    typer.Option(
        "--history-dir",
        metavar="DIR",
        envvar="MAXWHISPER_HISTORY",
        help="Folder of kept comparisons, instead of the user's data folder.",
    ),
]


def history(
    history_dir: HistoryDir = None,
    last: Annotated[
        int, typer.Option("--last", min=1, metavar="N", help="Most comparisons of each kind.")
    ] = 20,
) -> None:
    """Show how each implementation's time and accuracy moved over kept comparisons.

    `maxwhisper compare --save` keeps them.
    """
    from maxwhisper_cli.compare.history import (
        Series,
        history_folder,
        saved_comparisons,
        series_of,
    )
    from maxwhisper_cli.compare.trends import show_series

    terminal, folder = Terminal(), history_folder(history_dir)
    comparisons, problems = saved_comparisons(folder)
    for problem in problems:
        terminal.warning(problem)
    for number, series in enumerate(series_of(comparisons)):
        if number:
            terminal.line("")
        show_series(Series(series.comparisons[-last:]), terminal)
    if not comparisons:
        terminal.note(f"nothing is kept in {folder}; compare --save keeps comparisons")


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command()(history)
