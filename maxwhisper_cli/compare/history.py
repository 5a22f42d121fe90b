"""Comparisons that were kept: where they are, which of them can be held against each other.

Only those with the same work on the same processor are one series. What they look like is in
`trends`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import platformdirs

from maxwhisper_cli.compare.results import (
    Comparison,
    ComparisonError,
    read_comparison,
    write_comparison,
)


@dataclass(frozen=True, slots=True)
class Series:
    """Comparisons of the same work on the same processor, the oldest first."""

    comparisons: tuple[Comparison, ...]

    @property
    def latest(self) -> Comparison:
        """The newest of them."""
        return self.comparisons[-1]

    @property
    def implementations(self) -> tuple[str, ...]:
        """All that ever did the work, in the order of their first time."""
        names = (row.implementation for c in self.comparisons for row in c.finished)
        return tuple(dict.fromkeys(names))


def history_folder(chosen: Path | None = None) -> Path:
    """Where comparisons are kept: `chosen`, or the user's data folder (not created here)."""
    if chosen is not None:
        return chosen.expanduser()
    return platformdirs.user_data_path("maxwhisper") / "comparisons"


def keep_comparison(comparison: Comparison, folder: Path) -> Path:
    """Put a comparison into the folder; returns its file.

    Raises:
        ComparisonError: the folder cannot be made.
        OutputError: the file cannot be written.
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


def kept_comparisons(folder: Path) -> tuple[list[Comparison], list[str]]:
    """All comparisons of a folder, the oldest first, and what is wrong with files left out."""
    comparisons: list[Comparison] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            comparisons.append(read_comparison(path))
        except ComparisonError as error:
            problems.append(str(error))
    return sorted(comparisons, key=lambda comparison: comparison.created), problems


def series_of(comparisons: Sequence[Comparison]) -> list[Series]:
    """Sort comparisons into series, the one with the newest comparison last."""
    alike: dict[bytes, list[Comparison]] = {}
    for comparison in comparisons:
        key = _key(comparison)
        alike[key] = [*alike.pop(key, []), comparison]
    return [Series(tuple(members)) for members in alike.values()]


def _key(comparison: Comparison) -> bytes:
    """What must be the same for times to be comparable; the number of runs is not."""
    work, machine = comparison.work, comparison.machine
    names = [recording.name for recording in work.recordings]
    place = [machine.cpu, machine.n_cpus, machine.gpus, work.device]
    return msgspec.json.encode([work.model, work.options, work.n_threads, names, place])
