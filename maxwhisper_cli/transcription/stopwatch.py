"""Where time goes: seconds by what they were spent on, each second counted once.

`Stopwatch` itself measures nothing and costs nothing; it stands where nobody asked.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final, TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """What is told as work begins and ends; here: nobody listens."""

    is_running = False

    def on(self, what: str, n_times: int = 1) -> AbstractContextManager[None]:
        """Count the time until this is left as spent on `what`, but for what is counted inside."""
        del what, n_times
        return nullcontext()

    def each(self, what: str, items: Iterable[Item]) -> Iterable[Item]:
        """The items, with the time that it takes to get them counted."""
        del what
        return items

    def move(self, what: str, seconds: float, n_times: int) -> None:
        """Count seconds for `what` that are part of what is being counted now."""


STOPPED: Final = Stopwatch()


@dataclass(slots=True)
class Spent:
    """Time spent on something."""

    seconds: float = 0.0
    n_times: int = 0


@dataclass(slots=True)
class RunningStopwatch(Stopwatch):
    """Counts. For one thread alone."""

    is_running = True

    spent: dict[str, Spent] = field(default_factory=dict)
    """By what it was spent on, in the order of first times."""
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def on(self, what: str, n_times: int = 1) -> Iterator[None]:
        """Let what is counted now rest, and count `what`."""
        self._settle()
        self._open.append(what)
        self._entry(what).n_times += n_times
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def each(self, what: str, items: Iterable[Item]) -> Iterator[Item]:
        """Count what it takes to get each item, not what is done with it."""
        iterator = iter(items)
        while True:
            with self.on(what):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def move(self, what: str, seconds: float, n_times: int) -> None:
        """Take seconds from what is being counted now."""
        self._entry(self._open[-1]).seconds -= seconds
        moved = self._entry(what)
        moved.seconds += seconds
        moved.n_times += n_times

    def reset(self) -> None:
        """Forgets all that was counted; nothing may be counting."""
        assert not self._open, "something is being counted"
        self.spent.clear()

    def _entry(self, what: str) -> Spent:
        return self.spent.setdefault(what, Spent())

    def _settle(self) -> None:
        """Put the time since the last change where it belongs."""
        now = time.perf_counter()
        if self._open:
            self._entry(self._open[-1]).seconds += now - self._since
        self._since = now
