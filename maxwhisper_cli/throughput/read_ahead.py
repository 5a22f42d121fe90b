"""Several recordings read ahead by threads, in order of need, with a bound on what waits.

Input is a list or a feed of sources, and a function that opens one of them: a context manager.
Output is a context manager for each source, in order; entering one waits until its recording is
open, or opens it at once if no thread has begun with it. An error belongs to its recording: it is
raised there. A feed is asked for as many sources as there are threads, beyond those needed.

| bound | number |
| --- | --- |
| samples that wait, of all recordings whose turn has not come | `MAX_WAITING_BYTES`, 256 MiB |
| recordings that wait | `MAX_WAITING`, 64 |
| threads | as the caller says; 0 opens each when its turn comes |

A thread whose samples have no room waits, in the middle of a recording if need be; the recording
whose turn it is never does, so that nothing stands still. What may stall is not read ahead (a pipe,
a terminal, a caller's file object): it is opened when its turn comes, by the thread that needs it.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Final, Generic, Self, TypeVar

from implementations.processor_threads import available_threads
from maxwhisper_cli.throughput.feed import NOTHING_NOW, Feed
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch

MAX_WAITING_BYTES: Final = 256 * 2**20
"""Bytes of samples: 70 minutes at 16 kHz."""
MAX_WAITING: Final = 64
_END_SECONDS: Final = 5.0
"""Longest wait for a thread when the rest is not wanted: a disk may hang."""

Source = TypeVar("Source")
Opened = TypeVar("Opened")
Admit = Callable[[int], None]
"""Called with the bytes of the next samples, before they are kept; waits until there is room."""
Open = Callable[[Source, Admit | None], AbstractContextManager[Opened]]
"""Opens a source; without `Admit` it is needed at once, and may use all threads."""


class _UnwantedError(Exception):
    """The recordings that wait are no longer wanted."""


@dataclass(slots=True, eq=False)
class _Place(Generic[Opened]):
    """A source's place in the queue."""

    index: int
    is_begun: bool = False
    is_needed: bool = False
    """True once its turn has come."""
    is_done: bool = False
    n_bytes: int = 0
    """Bytes that count as waiting."""
    resources: ExitStack = field(default_factory=ExitStack)
    opened: Opened | None = None
    error: BaseException | None = None


class ReadAhead(Generic[Source, Opened]):
    """Queue of sources; iterate once over it, inside its context."""

    def __init__(
        self,
        sources: Sequence[Source] | Feed[Source],
        open_source: Open[Source, Opened],
        n_threads: int,
        *,
        stopwatch: Stopwatch = STOPPED,
        max_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        """Starts no thread yet.

        Args:
            sources: All of them, or what gives them.
            open_source: Opens one, in any thread.
            n_threads: Number of threads.
            stopwatch: Counts the time of waiting as that of audio.
            max_bytes: Bytes of samples that may wait.
        """
        self._feed = sources if isinstance(sources, Feed) else None
        self._sources = [] if isinstance(sources, Feed) else list(sources)
        self._open_source = open_source
        is_fed = self._feed is not None
        self._n_threads = n_threads if is_fed else min(n_threads, len(self._sources) - 1)
        self._max_ahead = min(n_threads, MAX_WAITING) if is_fed else MAX_WAITING
        self._stopwatch = stopwatch
        self._max_bytes = max_bytes
        self._places: list[_Place[Opened]] = [_Place(index) for index in range(len(self._sources))]
        self._asking = Lock()
        """Held while the feed is asked."""
        self._changed = Condition()
        self._n_begun = 0 if is_fed else 1
        """Sources up to which threads have gone; the first of a list is needed at once."""
        self._n_needed = 0
        self._n_bytes = 0
        self._is_over = False
        self._threads: list[Thread] = []

    @property
    def waiting_bytes(self) -> int:
        """Bytes of samples that wait now."""
        return self._n_bytes

    def __iter__(self) -> Iterator[AbstractContextManager[Opened]]:
        """Yields a context manager for each source; enter them in order.

        A feed that has none now gives `NOTHING_NOW`.
        """
        index = 0
        while index < len(self._places) or self._ask(index) or self._may_get_more():
            if index < len(self._places):
                yield self._entered(self._places[index])
                index += 1
            else:
                yield NOTHING_NOW

    def _may_get_more(self) -> bool:
        return self._feed is not None and not self._feed.is_over

    def _ask(self, index: int) -> bool:
        """Asks the feed for the source of an index, unless that is known; True if it is."""
        if self._feed is None:
            return index < len(self._places)
        with self._asking:
            if index == len(self._places) and (source := self._feed.take()) is not None:
                self._sources.append(source)
                with self._changed:
                    self._places.append(_Place(index))
        return index < len(self._places)

    def __enter__(self) -> Self:
        for number in range(self._n_threads):
            thread = Thread(target=self._read_on, name=f"read ahead {number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_END_SECONDS)
        for place in self._places:
            if place.is_done:
                place.resources.close()

    @contextmanager
    def _entered(self, place: _Place[Opened]) -> Iterator[Opened]:
        if self._need(place):
            with self._open_source(self._sources[place.index], None) as opened:
                yield opened
            return
        with place.resources:
            if place.error is not None:
                raise place.error
            assert place.opened is not None
            opened, place.opened = place.opened, None
            yield opened

    def _need(self, place: _Place[Opened]) -> bool:
        """Waits for a recording whose turn has come; returns True if nobody has begun with it."""
        with self._stopwatch.on("audio"), self._changed:
            place.is_needed = True
            self._n_needed += 1
            self._n_bytes -= place.n_bytes
            place.n_bytes = 0
            is_free = not place.is_begun
            place.is_begun = True
            self._changed.notify_all()
            if not is_free:
                self._changed.wait_for(lambda: place.is_done)
        return is_free

    def _read_on(self) -> None:
        """Opens one source after the other, in a thread."""
        while (place := self._next_place()) is not None:
            source = self._sources[place.index]

            def admit(n_bytes: int, place: _Place[Opened] = place) -> None:
                self._admit(place, n_bytes)

            try:
                with ExitStack() as resources:
                    place.opened = resources.enter_context(self._open_source(source, admit))
                    place.resources = resources.pop_all()
            except BaseException as error:  # noqa: BLE001  (raised where its turn comes)
                place.error = error
            with self._changed:
                place.is_done = True
                self._changed.notify_all()

    def _next_place(self) -> _Place[Opened] | None:
        """Returns the next place to begin with; None at the end."""
        while not self._is_over:
            with self._changed:
                place = self._free_place()
                if place is not None or self._is_over:
                    return place
                n_known = len(self._places)
            if not self._may_get_more():
                return None
            if not self._ask(n_known):
                self._wait_for_more(n_known)
        return None

    def _free_place(self) -> _Place[Opened] | None:
        """Returns the next known place once it may be read; None if all known ones are begun."""
        while not self._is_over:
            if self._n_begun - self._n_needed >= self._max_ahead:
                self._changed.wait()
            elif self._n_begun == len(self._places):
                return None
            else:
                place = self._places[self._n_begun]
                self._n_begun += 1
                if not (place.is_begun or may_stall(self._sources[place.index])):
                    place.is_begun = True
                    return place
        return None

    def _wait_for_more(self, n_known: int) -> None:
        """Waits, after the feed had none, until it may have one: a recording has been taken."""
        with self._changed:
            n_needed = self._n_needed
            self._changed.wait_for(
                lambda: (
                    self._is_over
                    or self._n_needed != n_needed
                    or len(self._places) > n_known
                    or not self._may_get_more()
                )
            )

    def _admit(self, place: _Place[Opened], n_bytes: int) -> None:
        def fits() -> bool:
            return self._is_over or place.is_needed or self._n_bytes + n_bytes <= self._max_bytes

        with self._changed:
            self._changed.wait_for(fits)
            if self._is_over:
                raise _UnwantedError
            if not place.is_needed:
                place.n_bytes += n_bytes
                self._n_bytes += n_bytes


def may_stall(source: object) -> bool:
    """Returns True for a source that may keep its reader waiting, or belongs to its caller."""
    if isinstance(known := getattr(source, "may_stall", None), bool):
        return known
    if isinstance(source, str | os.PathLike) and source != "-":
        try:
            return not stat.S_ISREG(Path(source).stat().st_mode)
        except (OSError, ValueError):
            return False  # it fails at once
        except Exception:  # noqa: BLE001  (too little memory, a caller's own path: said at its turn)
            return True
    return True


def count_reading_threads(device: str, n_threads: int = 0) -> int:
    """Returns the number of threads that read ahead while a model runs on a device.

    On the CPU it is one, since the model needs the others; on a single processor none.

    Args:
        device: The model's device.
        n_threads: Threads that the model and reading may use together; 0 is as many as can run.
    """
    n_threads = n_threads or available_threads()
    return min(1, n_threads - 1) if device == "cpu" else max(1, n_threads - 1)
