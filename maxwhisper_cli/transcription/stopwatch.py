"""Timing of a run: seconds by activity, each second counted once.

`Stopwatch` itself measures nothing and costs nothing; it is the default.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final, TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Interface of stopwatches; this one measures nothing."""

    is_running = False

    def on(self, activity: str, n_times: int = 1) -> AbstractContextManager[None]:
        """Counts the time inside the context for `activity`, without that of nested contexts."""
        del activity, n_times
        return nullcontext()

    def each(self, activity: str, items: Iterable[Item]) -> Iterable[Item]:
        """Returns the items, and counts the time of getting each."""
        del activity
        return items

    def move(self, activity: str, seconds: float, n_times: int) -> None:
        """Moves seconds from the current activity to `activity`."""


STOPPED: Final = Stopwatch()


@dataclass(slots=True)
class Spent:
    """Time and repetitions of an activity."""

    seconds: float = 0.0
    n_times: int = 0


@dataclass(slots=True)
class RunningStopwatch(Stopwatch):
    """Stopwatch that measures, for use by a single thread."""

    is_running = True

    spent: dict[str, Spent] = field(default_factory=dict)
    """Time by activity, in the order of first use."""
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def on(self, activity: str, n_times: int = 1) -> Iterator[None]:
        """Pauses the current activity, and counts the time inside the context for `activity`."""
        self._charge_elapsed()
        self._open.append(activity)
        self._entry(activity).n_times += n_times
        try:
            yield
        finally:
            self._charge_elapsed()
            self._open.pop()

    def each(self, activity: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items, and counts the time of getting each, not that of using it."""
        iterator = iter(items)
        while True:
            with self.on(activity):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def move(self, activity: str, seconds: float, n_times: int) -> None:
        """Moves seconds from the current activity to `activity`."""
        self._entry(self._open[-1]).seconds -= seconds
        moved = self._entry(activity)
        moved.seconds += seconds
        moved.n_times += n_times

    def reset(self) -> None:
        """Clears the times; no activity may be running."""
        assert not self._open, "an activity is running"
        self.spent.clear()

    def _entry(self, activity: str) -> Spent:
        return self.spent.setdefault(activity, Spent())

    def _charge_elapsed(self) -> None:
        """Adds the time since the last change to the current activity."""
        now = time.perf_counter()
        if self._open:
            self._entry(self._open[-1]).seconds += now - self._since
        self._since = now
