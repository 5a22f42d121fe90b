"""Transcripts of a recording side by side, with differing words marked.

Implementations with the same text share a column. All are compared with the reference, or with the
first text if there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from maxwhisper_cli.compare.differences import Span, compare_texts, separator
from maxwhisper_cli.compare.results import Comparison
from weights.printable import printable

_MIN_COLUMN_WIDTH = 26
_GAP = 2
_LAYOUT = "\n\t"


@dataclass(frozen=True, slots=True)
class Version:
    """A text, with the names of the implementations that wrote it."""

    names: tuple[str, ...]
    text: str
    spans: tuple[Span, ...]
    """Differences from the first version; empty for the first version itself."""


def versions_of(comparison: Comparison, index: int) -> list[Version]:
    """Returns the different texts of one recording; the others are compared with the first."""
    results = {row.implementation: row.recordings[index] for row in comparison.finished}
    texts: dict[str, list[str]] = {}
    for name, result in results.items():
        texts.setdefault(result.measurement.text, []).append(name)
    recording = comparison.work.recordings[index]
    named = [(tuple(names), text) for text, names in texts.items()]
    if recording.reference is not None:
        named.insert(0, ((recording.reference_name,), recording.reference))
    language = language_of(comparison, index)
    first = named[0][1] if named else ""
    return [
        Version(names, text, compare_texts(first, text, language) if position else ())
        for position, (names, text) in enumerate(named)
    ]


def language_of(comparison: Comparison, index: int) -> str:
    """Returns the language of a recording, as the first implementation detected it."""
    return comparison.finished[0].recordings[index].measurement.language


def side_by_side(versions: Sequence[Version], language: str, width: int) -> RenderableType:
    """Returns the texts in columns, or one below the other if columns would be too narrow.

    The first of two texts has its differences marked; the first of more is plain.
    """
    glue = separator(language)
    column_width = (width - _GAP * (len(versions) - 1)) // max(len(versions), 1)
    bodies = [_first_text(versions, glue), *(_right(v.spans, glue) for v in versions[1:])]
    titles = [Text(printable(", ".join(version.names)), style="bold") for version in versions]
    if column_width < _MIN_COLUMN_WIDTH:
        return Group(*(part for pair in zip(titles, bodies, strict=True) for part in (*pair, "")))
    grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for _ in versions:
        grid.add_column(width=column_width, overflow="fold")
    grid.add_row(*titles)
    grid.add_row(*bodies)
    return grid


def marked_lines(version: Version, language: str) -> str:
    """Returns a text with `[-deletions-]` and `{+insertions+}`, as wdiff marks them."""
    parts: list[str] = []
    for span in version.spans:
        if span.is_same:
            parts.append(span.right)
            continue
        parts += [f"[-{span.left}-]"] if span.left else []
        parts += [f"{{+{span.right}+}}"] if span.right else []
    return separator(language).join(parts) if version.spans else version.text


def _first_text(versions: Sequence[Version], glue: str) -> Text:
    if len(versions) != 2:
        return Text(printable(versions[0].text, _LAYOUT))
    parts = [(s.left, "" if s.is_same else "red underline") for s in versions[1].spans]
    return _join_styled(parts, glue)


def _right(spans: Sequence[Span], glue: str) -> Text:
    parts = [
        (s.right or "∅" * (not s.is_same), "" if s.is_same else "bold yellow underline")
        for s in spans
    ]
    return _join_styled(parts, glue)


def _join_styled(parts: Sequence[tuple[str, str]], glue: str) -> Text:
    filled = [Text(printable(words, _LAYOUT), style=style) for words, style in parts if words]
    return Text(glue).join(filled)
