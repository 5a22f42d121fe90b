"""Time and word error rate of each implementation over saved comparisons."""

import math
from collections.abc import Callable
from typing import Any

from maxwhisper_cli.compare.columns import percent
from maxwhisper_cli.compare.history import Series
from maxwhisper_cli.compare.results import Comparison, Figures
from maxwhisper_cli.compare.shown import describe_search
from maxwhisper_cli.console import Column, Terminal

_COLUMNS = (
    Column("run", is_number=True),
    Column("when", is_name=True),
    Column("implementation", is_name=True),
    Column("warm s", is_number=True),
    Column("change", is_number=True),
    Column("WER %", is_number=True),
    Column("change", is_number=True),
)
_PLOT_HEIGHT = 10
_MARKS = ["o", "x", "+", "*"]
"""Marks of the implementations in plots without colour."""
_FRAME_WIDTH = 12
_LEAST_PLOT_WIDTH = 32
"""Smallest width of a plot; below it, the table has the same information."""


def show_series(series: Series, terminal: Terminal) -> None:
    """Prints a series as a table and, from two comparisons on, as plots."""
    latest = series.latest
    names = ", ".join(recording.name for recording in latest.work.recordings)
    work = f"{latest.work.model}, {describe_search(latest.work)}"
    terminal.line(f"{work}: {names}; {latest.machine.cpu}")
    terminal.table(_COLUMNS, _rows(series))
    if len(series.comparisons) > 1:
        _plot(series, "warm s", lambda figures: figures.warm_seconds, terminal)
        _plot(series, "WER %", _error_percent, terminal)


def _rows(series: Series) -> list[tuple[str, ...]]:
    """Returns a row for each implementation in each comparison, with its change since the last."""
    previous: dict[str, Figures] = {}
    rows: list[tuple[str, ...]] = []
    for number, comparison in enumerate(series.comparisons, start=1):
        when = comparison.created[:16].replace("T", " ")
        for row in comparison.rows:
            start = (str(number), when, row.implementation)
            if row.total is None:
                rows += [(*start, row.status, "", "", "")] * (row.status == "failed")
                continue
            last = previous.get(row.implementation)
            rows.append((*start, *_changes(row.total, last)))
            previous[row.implementation] = row.total
    return rows


def _changes(now: Figures, last: Figures | None) -> tuple[str, str, str, str]:
    warm, wer = f"{now.warm_seconds:.2f}", percent(now.wer)
    if last is None:
        return warm, "", wer, ""
    time_change = f"{100 * (now.warm_seconds / last.warm_seconds - 1):+.1f}%"
    is_known = now.wer is not None and last.wer is not None
    return warm, time_change, wer, f"{_error_percent(now) - _error_percent(last):+.2f}" * is_known


def _error_percent(figures: Figures) -> float:
    return math.nan if figures.wer is None else 100 * figures.wer.rate


def _plot(
    series: Series, title: str, value: Callable[[Figures], float], terminal: Terminal
) -> None:
    lines = {name: _points(series.comparisons, name, value) for name in series.implementations}
    plotted = {name: points for name, points in lines.items() if points}
    if not plotted or terminal.width < _LEAST_PLOT_WIDTH:
        return
    from uniplot import plot_to_string

    look: dict[str, Any] = {"character_set": "braille", "color": True}
    if not terminal.is_interactive:
        look = {"character_set": "ascii", "color": False, "force_ascii_characters": _MARKS}
    drawn = plot_to_string(
        xs=[[x for x, _ in points] for points in plotted.values()],
        ys=[[y for _, y in points] for points in plotted.values()],
        legend_labels=list(plotted),
        lines=True,
        title=f"{title} by run",
        width=terminal.width - _FRAME_WIDTH,
        height=_PLOT_HEIGHT,
        y_min=0,
        x_min=1,
        x_max=len(series.comparisons),
        **look,
    )
    terminal.document(f"\n{drawn}\n")


def _points(
    comparisons: tuple[Comparison, ...], name: str, value: Callable[[Figures], float]
) -> list[tuple[float, float]]:
    """Returns (number of the comparison, value) for those that have a value."""
    points = (
        (float(number), value(row.total))
        for number, comparison in enumerate(comparisons, start=1)
        for row in comparison.finished
        if row.implementation == name and row.total
    )
    return [(x, y) for x, y in points if math.isfinite(y)]
