"""Bars: limits on runs of a contender, alone or relative to a baseline; and their table.

Nothing is measured here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Setting:
    """Settings that all sections share."""

    folder: str
    """Folder of the files of `prepare.py`, and of the sections' own."""
    model: str
    n_runs: int
    """Number of runs of each contender."""
    n_threads: int
    available: frozenset[str]
    """Names of the implementations that can run here."""
    console: Console


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    section: str
    quantity: str
    unit: str
    contender: str
    runs: list[float]
    bar: float | None
    """Upper bound of `measured`; None for figures without a bar."""
    baseline: str | None = None
    """None where the bar is on the contender's own number."""
    baseline_runs: list[float] | None = None
    """In the order of `runs`: those of one round lie side by side."""

    @property
    def measured(self) -> float:
        """The ratio of the medians, or the median where there is no baseline."""
        own = median(self.runs)
        return own / median(self.baseline_runs) if self.baseline_runs else own

    @property
    def spread(self) -> tuple[float, float]:
        """Least and most of `measured` in single rounds."""
        if not self.baseline_runs:
            return min(self.runs), max(self.runs)
        ratios = [a / b for a, b in zip(self.runs, self.baseline_runs, strict=True)]
        return min(ratios), max(ratios)

    @property
    def passed(self) -> bool:
        return self.bar is None or self.measured <= self.bar

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "measured": self.measured, "passed": self.passed}


def table(rows: Sequence[Row]) -> Table:
    drawn = Table(box=None, pad_edge=False)
    for title in ("", "", "median", "against", "result (of single runs)", "bar", ""):
        drawn.add_column(title, no_wrap=True)
    for row in rows:
        low, high = row.spread
        names = row.contender if row.baseline is None else f"{row.contender} / {row.baseline}"
        against = f"{median(row.baseline_runs):.4g} {row.unit}" if row.baseline_runs else ""
        drawn.add_row(
            f"{names}, {row.section}",
            row.quantity,
            f"{median(row.runs):.4g} {row.unit}",
            against,
            f"{row.measured:.3f} ({low:.3f} to {high:.3f})",
            "" if row.bar is None else f"{row.bar:g}",
            verdict(row),
        )
    return drawn


def verdict(row: Row) -> str:
    """In rich's markup."""
    if row.bar is None:
        return "no bar"
    return "[green]pass[/]" if row.passed else "[red]miss[/]"
