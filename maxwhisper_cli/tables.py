"""Tables of text that stay readable at any width; control characters are escaped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weights.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_COLUMN_GAP = 2
_MIN_WRAPPED_WIDTH = 10
"""Smallest readable width of a column of text."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    is_number: bool = False
    is_name: bool = False
    """True for a column whose cells are never wrapped."""


def make_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int, *, is_ruled: bool
) -> "RenderableType":
    """Returns a table, or a list of records if the width is too small for one.

    Args:
        columns: Columns in order.
        rows: A text for each column.
        width: Characters per line.
        is_ruled: True draws a line below the titles.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell) for cell in row] for row in rows]
    if _min_width(columns, cells) > width:
        return _records(columns, cells)
    table = Table(
        box=box.SIMPLE_HEAD if is_ruled else None,
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
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _min_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """Returns the smallest width at which every column is readable."""
    from rich.cells import cell_len

    def min_width(index: int, column: Column) -> int:
        longest = max(map(cell_len, (column.title, *(row[index] for row in rows))))
        is_whole = column.is_number or column.is_name
        return longest if is_whole else min(longest, _MIN_WRAPPED_WIDTH)

    widths = [min_width(index, column) for index, column in enumerate(columns)]
    return sum(widths) + _COLUMN_GAP * (len(columns) - 1)


def _records(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> "Text":
    """Returns each row as a record: its first cell as heading, then the others with titles."""
    from rich.text import Text

    lines = [
        Text.assemble(
            (row[0], "bold"),
            *(
                f"\n  {column.title}: {cell}"
                for column, cell in zip(columns[1:], row[1:], strict=True)
                if cell
            ),
        )
        for row in rows
    ]
    return Text("\n", overflow="fold").join(lines)
