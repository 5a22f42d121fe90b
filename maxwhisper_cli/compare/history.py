"""Saved comparisons: their folder, and the series of those that are comparable.

Comparisons with the same work on the same processor form a series. `trends` shows them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from maxwhisper_cli.compare.results import (
    Comparison,
    ComparisonError,
    read_comparison,
    write_comparison,
)
from weights.cache import data_root, expanded


@dataclass(frozen=True, slots=True)
class Series:
    """Comparisons of the same work on the same processor, the oldest first."""

    comparisons: tuple[Comparison, ...]

    @property
    def latest(self) -> Comparison:
        """Newest comparison."""
        return self.comparisons[-1]

    @property
    def implementations(self) -> tuple[str, ...]:
        """Implementations that finished at least once, in the order of first success."""
        names = (row.implementation for c in self.comparisons for row in c.finished)
        return tuple(dict.fromkeys(names))


def history_folder(chosen: Path | None = None) -> Path:
    """Returns the folder of saved comparisons: `chosen`, or in the user's data (not created)."""
    if chosen is not None:
        return expanded(chosen)
    return data_root() / "comparisons"


def save_comparison(comparison: Comparison, folder: Path) -> Path:
    """Writes a comparison into the folder; returns its file.

    Raises:
        ComparisonError: The folder cannot be created.
        OutputError: The file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ComparisonError(
            f"comparisons cannot be kept in {folder}: {error.strerror}; choose another "
            "--history-dir"
        ) from error
    digest = hashlib.sha256(msgspec.json.encode(comparison)).hexdigest()[:8]
    when = comparison.created[:19].replace(":", "")
    path = folder / f"{when}-{digest}.json"
    write_comparison(path, comparison)
    return path


def saved_comparisons(folder: Path) -> tuple[list[Comparison], list[str]]:
    """Returns all comparisons of a folder, oldest first, and messages about unreadable files."""
    comparisons: list[Comparison] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            comparisons.append(read_comparison(path))
        except ComparisonError as error:
            problems.append(str(error))
    return sorted(comparisons, key=lambda comparison: comparison.created), problems


def series_of(comparisons: Sequence[Comparison]) -> list[Series]:
    """Groups comparisons into series, the one with the newest comparison last."""
    groups: dict[bytes, list[Comparison]] = {}
    for comparison in comparisons:
        key = _key(comparison)
        groups[key] = [*groups.pop(key, []), comparison]
    return [Series(tuple(members)) for members in groups.values()]


def _key(comparison: Comparison) -> bytes:
    """Returns everything that must be equal for times to be comparable."""
    work, machine = comparison.work, comparison.machine
    names = [recording.name for recording in work.recordings]
    hardware = [machine.cpu, machine.n_cpus, machine.gpus, work.device]
    return msgspec.json.encode([work.model, work.options, work.n_threads, names, hardware])
