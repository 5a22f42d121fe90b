"""Recordings of units that come one by one: the next unit is asked for before the last is done."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import Condition
from typing import Generic, TypeVar

from maxwhisper_cli.cluster.plan import Entry, Unit
from maxwhisper_cli.throughput.feed import Feed

Request = TypeVar("Request")


class UnitFeed(Feed[Request], Generic[Request]):
    """Recordings of the units that were added, in order; `add` and `end` come from any thread."""

    def __init__(
        self,
        request_of: Callable[[Entry], Request],
        n_least: int,
        on_low: Callable[[], None],
    ) -> None:
        """Has no units yet.

        Args:
            request_of: Makes what is read of a recording of the manifest.
            n_least: Recordings that are left at least, or more are asked for: a batch.
            on_low: Called once each time that fewer are left, until a unit comes.
        """
        self._request_of = request_of
        self._n_least = n_least
        self._on_low = on_low
        self._left: deque[tuple[Unit, Entry]] = deque()
        self._changed = Condition()
        self._n_done = 0
        self._is_ended = False
        self._has_asked = False
        self.owners: list[tuple[Unit, Entry]] = []
        """Unit and entry of each recording that was taken, by its index."""

    @property
    def is_over(self) -> bool:
        """True once no more units come and all were taken."""
        return self._is_ended and not self._left

    def add(self, unit: Unit) -> None:
        """Adds a unit."""
        with self._changed:
            self._left.extend((unit, entry) for entry in unit.entries)
            self._has_asked = False
            self._changed.notify_all()

    def end(self) -> None:
        """Says that no more units come."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def count_done(self) -> None:
        """Counts a recording that is done."""
        with self._changed:
            self._n_done += 1
            self._changed.notify_all()

    def take(self) -> Request | None:
        """Returns the next recording; waits for a unit only while nothing is being worked on."""
        self._ask_if_low(1)
        with self._changed:
            self._changed.wait_for(
                lambda: self._left or self._is_ended or self._n_done < len(self.owners)
            )
            if not self._left:
                return None
            unit, entry = self._left.popleft()
            self.owners.append((unit, entry))
        return self._request_of(entry)

    def _ask_if_low(self, n_taken: int) -> None:
        with self._changed:
            is_low = len(self._left) - n_taken < self._n_least
            asks = is_low and not self._has_asked and not self._is_ended
            self._has_asked |= asks
        if asks:
            self._on_low()


class UnitRecords(Generic[Request]):
    """Records of recordings as they end, gathered by unit."""

    def __init__(self) -> None:
        self._of_unit: dict[int, dict[int, Request]] = {}

    def add(self, unit: Unit, entry: Entry, record: Request) -> list[Request] | None:
        """Returns a unit's records in the order of the manifest, once it is whole."""
        of_unit = self._of_unit.setdefault(unit.number, {})
        of_unit[entry.index] = record
        if len(of_unit) < len(unit.entries):
            return None
        del self._of_unit[unit.number]
        return [of_unit[index] for index in sorted(of_unit)]


def entries_of(units: Iterable[Unit]) -> Iterator[tuple[Unit, Entry]]:
    """Yields each recording with its unit."""
    return ((unit, entry) for unit in units for entry in unit.entries)
