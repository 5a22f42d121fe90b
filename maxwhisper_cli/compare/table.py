"""A comparison as tables: for a terminal, with the columns that fit, or for a README.

Each implementation is a row; one that did not do the work is a row that says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from maxwhisper_cli.compare.columns import COLUMNS, Column
from maxwhisper_cli.compare.results import Comparison, Figures, Row
from maxwhisper_cli.writers.files import write_atomically

_GAP = "  "
_STYLES = {"ok": "", "unavailable": "dim", "failed": "bold red"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of a table: its name, then cells, or in their place words."""

    name: str
    cells: tuple[str, ...]
    words: str = ""
    style: str = ""


def summary_lines(comparison: Comparison, width: int | None) -> list[Text]:
    """Returns the table over all recordings.

    Args:
        comparison: What is shown.
        width: Characters to a line; the columns that matter least are left out to fit. None shows
            every column that says something.
    """
    lines = [_summary(row) for row in comparison.rows]
    return _drawn(["implementation"], lines, list(COLUMNS), width)


def recording_lines(comparison: Comparison, index: int, width: int | None) -> list[Text]:
    """Returns the table for one recording."""
    columns = [column for column in COLUMNS if column.is_per_recording]
    lines = [_line(row, row.recordings[index].figures, columns) for row in comparison.finished]
    return _drawn(["implementation"], lines, columns, width)


def write_markdown(path: Path, comparison: Comparison) -> None:
    """Writes the table over all recordings in Markdown.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomically(path, markdown_table(comparison))


def telling_columns(comparison: Comparison) -> list[Column]:
    """Returns the columns that have something to say of any implementation."""
    return _telling(list(COLUMNS), [_summary(row) for row in comparison.rows])


def markdown_table(comparison: Comparison) -> str:
    """Returns the table over all recordings in Markdown, for a README."""
    columns = telling_columns(comparison)
    titles = ["implementation", *(column.title for column in columns)]
    rules = [":---", *("---:" for _ in columns)]
    body = [_markdown_row(row, columns) for row in comparison.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (titles, rules, *body)) + "\n"


def _summary(row: Row) -> _Line:
    if row.total is None:
        return _Line(row.implementation, (), f"{row.status}: {row.reason}", _STYLES[row.status])
    return _line(row, row.total, list(COLUMNS))


def _line(row: Row, figures: Figures, columns: Sequence[Column]) -> _Line:
    return _Line(row.implementation, tuple(column.cell(row, figures) for column in columns))


def _telling(columns: list[Column], lines: Sequence[_Line]) -> list[Column]:
    """Returns the columns that are not empty in every line."""
    filled = [line.cells for line in lines if line.cells]
    return [c for i, c in enumerate(columns) if any(cells[i] for cells in filled)]


def _markdown_row(row: Row, columns: list[Column]) -> list[str]:
    if row.total is None:
        words = f"{row.status}: {row.reason}".replace("|", r"\|")
        return [row.implementation, words, *([""] * (len(columns) - 1))]
    return [row.implementation, *(column.cell(row, row.total) for column in columns)]


def _drawn(
    heading: list[str], lines: Sequence[_Line], columns: list[Column], width: int | None
) -> list[Text]:
    """Lines of text, numbers to the right, words where there are no numbers."""
    telling = _telling(columns, lines)
    places = [columns.index(column) for column in telling]
    cells = {line.name: [line.cells[i] for i in places] for line in lines if line.cells}
    widths = [
        max(len(text) for text in (column.title, *(own[i] for own in cells.values())))
        for i, column in enumerate(telling)
    ]
    name_width = max(map(len, [*heading, *(line.name for line in lines)]))
    kept = _fitting(telling, widths, name_width, width)

    def joined(name: str, texts: Sequence[str]) -> str:
        padded = (texts[i].rjust(widths[i]) for i in kept)
        return _GAP.join([name.ljust(name_width), *padded]).rstrip()

    drawn = [Text(joined(heading[0], [column.title for column in telling]), style="bold")]
    for line in lines:
        if line.cells:
            drawn.append(Text(joined(line.name, cells[line.name]), style=line.style))
        else:
            drawn.extend(_worded(line, name_width, width))
    return drawn


def _fitting(
    columns: Sequence[Column], widths: Sequence[int], name_width: int, width: int | None
) -> list[int]:
    """Which columns fit, the most important first; in their own order."""
    chosen: list[int] = []
    left = float("inf") if width is None else width - name_width
    for i in sorted(range(len(columns)), key=lambda i: columns[i].rank):
        left -= len(_GAP) + widths[i]
        if left < 0:
            break
        chosen.append(i)
    return sorted(chosen)


def _worded(line: _Line, name_width: int, width: int | None) -> list[Text]:
    """Returns a row of words beside its name, wrapped under themselves."""
    import textwrap

    indent = " " * (name_width + len(_GAP))
    wrapped = textwrap.wrap(
        line.words,
        width or 10_000,
        initial_indent=line.name.ljust(name_width) + _GAP,
        subsequent_indent=indent,
    )
    return [Text(part, style=line.style) for part in wrapped]
