"""Units of work: a manifest cut into parts of about two hours of audio, the longest first.

The plan depends on the manifest alone, never on how many workers there are. A recording whose
manifest does not tell its length counts as five minutes.
"""

import hashlib
import heapq
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.transcription.options import OptionsError

UNIT_SECONDS: Final = 7200.0
_MIN_UNIT_SECONDS: Final = 300.0
_MIN_UNITS: Final = 64
"""Units that a small manifest is cut into, so that there is work for several workers."""
UNKNOWN_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording of the manifest."""

    index: int
    """Index in the manifest."""
    input: Input

    @property
    def id(self) -> str | int:
        """Its `id`, or else its index."""
        given = self.input.fields.get("id")
        return given if isinstance(given, str | int) else self.index

    @property
    def seconds(self) -> float:
        """Length as the manifest has it."""
        known = self.input.duration_seconds
        return UNKNOWN_SECONDS if known is None else known


@dataclass(frozen=True, slots=True)
class Unit:
    """Recordings that are transcribed by one worker and written into one file."""

    number: int
    """Number from 0 on, which names its file."""
    entries: tuple[Entry, ...]

    @property
    def seconds(self) -> float:
        """Length of all its recordings."""
        return sum(entry.seconds for entry in self.entries)


def plan_units(inputs: Sequence[Input]) -> list[Unit]:
    """Returns the units of a manifest, those with the longest recordings first.

    Raises:
        OptionsError: Two recordings have the same id.
    """
    entries = [Entry(index, each) for index, each in enumerate(inputs)]
    _refuse_equal_ids(entries)
    total = sum(entry.seconds for entry in entries)
    target = min(UNIT_SECONDS, max(_MIN_UNIT_SECONDS, total / _MIN_UNITS))
    entries.sort(key=lambda entry: (-entry.seconds, entry.index))
    return [Unit(number, part) for number, part in enumerate(_parts(entries, target))]


def _parts(entries: Iterable[Entry], target: float) -> Iterator[tuple[Entry, ...]]:
    part: list[Entry] = []
    seconds = 0.0
    for entry in entries:
        if part and seconds + entry.seconds > target:
            yield tuple(part)
            part, seconds = [], 0.0
        part.append(entry)
        seconds += entry.seconds
    if part:
        yield tuple(part)


def plan_key(units: Iterable[Unit]) -> str:
    """Returns a hash of what is transcribed in which unit."""
    digest = hashlib.sha256()
    for unit in units:
        for entry in unit.entries:
            fields = json.dumps(dict(entry.input.fields), sort_keys=True, default=str)
            digest.update(f"{unit.number} {entry.index} {fields}\n".encode(errors="replace"))
    return digest.hexdigest()[:32]


def parse_shard(text: str) -> tuple[int, int]:
    """Returns number and count of `3/16`.

    Raises:
        OptionsError: It is no such pair, or the number is not from 1 to the count.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise OptionsError(f"--shard is I/N, from 1/N to N/N, as 3/16, and not {text!r}")
    return int(found[1]), int(found[2])


def units_of_shard(units: Iterable[Unit], number: int, count: int) -> list[Unit]:
    """Returns the units of a shard: each unit goes to the shard with the least work so far.

    Args:
        units: All units in order.
        number: Number of the shard, from 1 on.
        count: Number of shards.
    """
    loads = [(0.0, shard) for shard in range(1, count + 1)]
    chosen = []
    for unit in units:
        seconds, shard = heapq.heappop(loads)
        heapq.heappush(loads, (seconds + unit.seconds, shard))
        if shard == number:
            chosen.append(unit)
    return chosen


def _refuse_equal_ids(entries: Iterable[Entry]) -> None:
    seen: dict[str | int, int] = {}
    for entry in entries:
        if entry.id in seen:
            raise OptionsError(
                f"recordings {seen[entry.id] + 1} and {entry.index + 1} of the manifest both have "
                f"the id {entry.id!r}; give each its own"
            )
        seen[entry.id] = entry.index
