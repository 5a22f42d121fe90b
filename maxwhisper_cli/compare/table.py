"""A comparison as tables: for a terminal, with the columns that fit, or in Markdown.

Each implementation is a row; one that did not finish has its reason there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from maxwhisper_cli.compare.columns import COLUMNS, Column
from maxwhisper_cli.compare.results import Comparison, Figures, Row
from maxwhisper_cli.writers.files import write_atomically

_GAP = "  "
_MIN_COLUMNS = 2
"""Smallest number of columns beside the names; with fewer, the rows are lists."""
_STYLES = {"ok": "", "unavailable": "dim", "failed": "bold red"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of a table: a name with cells, or with a message in their place."""

    name: str
    cells: tuple[str, ...]
    message: str = ""
    style: str = ""


def summary_lines(comparison: Comparison, width: int | None) -> list[Text]:
    """Returns the table over all recordings.

    Args:
        comparison: The comparison.
        width: Characters per line; the least important columns are left out to fit. None shows
            every column that is not empty.
    """
    lines = [_summary(row) for row in comparison.rows]
    rendered, n_hidden = _render_lines(["implementation"], lines, list(COLUMNS), width)
    if n_hidden:
        plural = "s" * (n_hidden > 1)
        rendered.append(Text(f"--wide shows {n_hidden} more column{plural}", style="dim"))
    return rendered


def recording_lines(comparison: Comparison, index: int, width: int | None) -> list[Text]:
    """Returns the table for one recording."""
    columns = [column for column in COLUMNS if column.is_per_recording]
    lines = [_line(row, row.recordings[index].figures, columns) for row in comparison.finished]
    return _render_lines(["implementation"], lines, columns, width)[0]


def write_markdown(path: Path, comparison: Comparison) -> None:
    """Writes the table over all recordings in Markdown.

    Raises:
        OutputError: The file cannot be written.
    """
    write_atomically(path, markdown_table(comparison))


def nonempty_columns(comparison: Comparison) -> list[Column]:
    """Returns the columns that are not empty for every implementation."""
    return _nonempty(list(COLUMNS), [_summary(row) for row in comparison.rows])


def markdown_table(comparison: Comparison) -> str:
    """Returns the table over all recordings in Markdown, for a README."""
    columns = nonempty_columns(comparison)
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


def _nonempty(columns: list[Column], lines: Sequence[_Line]) -> list[Column]:
    """Returns the columns that are not empty in every line."""
    filled = [line.cells for line in lines if line.cells]
    return [c for i, c in enumerate(columns) if any(cells[i] for cells in filled)]


def _markdown_row(row: Row, columns: list[Column]) -> list[str]:
    if row.total is None:
        message = f"{row.status}: {row.reason}".replace("|", r"\|")
        return [row.implementation, message, *([""] * (len(columns) - 1))]
    return [row.implementation, *(column.cell(row, row.total) for column in columns)]


def _render_lines(
    heading: list[str], lines: Sequence[_Line], columns: list[Column], width: int | None
) -> tuple[list[Text], int]:
    """Returns lines of text, right-aligned numbers or a message, and the number of hidden columns.

    Places too narrow for a table get a list.
    """
    nonempty = _nonempty(columns, lines)
    indices = [columns.index(column) for column in nonempty]
    cells = {line.name: [line.cells[i] for i in indices] for line in lines if line.cells}
    widths = [
        max(len(text) for text in (column.title, *(own[i] for own in cells.values())))
        for i, column in enumerate(nonempty)
    ]
    name_width = max(map(len, [*heading, *(line.name for line in lines)]))
    shown = _fitting_columns(nonempty, widths, name_width, width)
    is_narrow = width is not None and name_width > width / 2
    if is_narrow or len(shown) < min(_MIN_COLUMNS, len(nonempty)):
        return _list_lines(lines, nonempty, cells), 0

    def joined(name: str, texts: Sequence[str]) -> str:
        padded = (texts[i].rjust(widths[i]) for i in shown)
        return _GAP.join([name.ljust(name_width), *padded]).rstrip()

    rendered = [Text(joined(heading[0], [column.title for column in nonempty]), style="bold")]
    for line in lines:
        if line.cells:
            rendered.append(Text(joined(line.name, cells[line.name]), style=line.style))
        else:
            rendered.extend(_wrap_message(line, name_width, width))
    return rendered, len(nonempty) - len(shown)


def _list_lines(
    lines: Sequence[_Line], columns: Sequence[Column], cells: Mapping[str, Sequence[str]]
) -> list[Text]:
    """Returns each row as a list of its cells, for widths too small for a table."""
    ranked = sorted(range(len(columns)), key=lambda i: columns[i].rank)
    rendered: list[Text] = []
    for line in lines:
        rendered.append(Text(line.name, style="bold"))
        if not line.cells:
            rendered.append(Text(f"  {line.message}", style=line.style))
            continue
        fields = ((columns[i].title, cells[line.name][i]) for i in ranked)
        rendered += [Text(f"  {title}: {cell}", style=line.style) for title, cell in fields if cell]
    return rendered


def _fitting_columns(
    columns: Sequence[Column], widths: Sequence[int], name_width: int, width: int | None
) -> list[int]:
    """Returns the indices of the most important columns that fit, in their own order."""
    chosen: list[int] = []
    remaining = float("inf") if width is None else width - name_width
    for i in sorted(range(len(columns)), key=lambda i: columns[i].rank):
        remaining -= len(_GAP) + widths[i]
        if remaining < 0:
            break
        chosen.append(i)
    return sorted(chosen)


def _wrap_message(line: _Line, name_width: int, width: int | None) -> list[Text]:
    """Returns a row with its message beside the name, wrapped with an indent."""
    import textwrap

    indent = " " * (name_width + len(_GAP))
    wrapped = textwrap.wrap(
        line.message,
        width or 10_000,
        initial_indent=line.name.ljust(name_width) + _GAP,
        subsequent_indent=indent,
    )
    return [Text(part, style=line.style) for part in wrapped]
