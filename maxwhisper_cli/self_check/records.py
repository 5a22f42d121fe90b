"""Results of checks in the cache folder, by all that may change them; written whole or not at all.

A result that cannot be read or written is none: the check is then made again.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from weights.cache import cache_root

FOLDER = "confirmed"


@dataclass(frozen=True, slots=True)
class Subject:
    """All that decides whether an implementation computes the same on a GPU."""

    implementation: str
    gpu: str
    """Name of the GPU, slices with their profile."""
    driver: str
    artifacts: tuple[str, ...]
    """Keys of the compiled files: sizes, types, kernels, MAX's version."""
    version: str
    """Version of this program."""

    @property
    def path(self) -> Path:
        """File of its result."""
        digest = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()
        return cache_root() / FOLDER / f"{digest[:32]}.json"


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of a check."""

    difference: str | None
    """First difference from the CPU; None if there is none."""
    checked: str
    """Date, `2026-11-27`."""


def read_result(subject: Subject) -> Result | None:
    """Returns the stored result; None if there is none."""
    try:
        record = json.loads(subject.path.read_text(encoding="utf-8"))
        difference, checked = record["difference"], record["checked"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    is_sound = isinstance(checked, str) and isinstance(difference, str | None)
    return Result(difference, checked) if is_sound else None


def store_result(subject: Subject, difference: str | None) -> Result:
    """Stores a result as of today, and returns it."""
    result = Result(difference, f"{datetime.now(UTC):%Y-%m-%d}")
    text = json.dumps({**asdict(subject), **asdict(result)}, indent=2, ensure_ascii=False)
    path = subject.path
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_text(f"{text}\n", encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return result
