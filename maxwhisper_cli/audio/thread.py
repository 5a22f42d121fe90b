"""Threads that decode a recording from its start to its end, where it cannot be cut into spans.

One thread decodes while another resamples what came before; at most four blocks wait. Two threads
of the process decode frame by frame at a time: more would wait for the interpreter's lock, and burn
as much time as they save.
"""

import os
from collections.abc import Iterator
from queue import Full, Queue
from threading import BoundedSemaphore, Event, Thread
from typing import Final

from maxwhisper_cli.audio.stream import Float32

_N_WAITING: Final = 4
_LOOK_SECONDS: Final = 0.1
"""Longest time in which a thread notices that the rest is not wanted."""
_END_SECONDS: Final = 5.0
_MAX_AT_A_TIME: Final = 2

_at_a_time = BoundedSemaphore(_MAX_AT_A_TIME)


class BlocksAhead:
    """Iterates once over blocks, in order; an error is raised where it belongs."""

    def __init__(self, blocks: Iterator[Float32]) -> None:
        self._blocks = blocks
        self._queue: Queue[Float32 | BaseException | None] = Queue(_N_WAITING)
        self._is_over = Event()
        self._thread = Thread(target=self._run, name="audio ahead", daemon=True)

    def __iter__(self) -> Iterator[Float32]:
        """Yields the blocks; starts the thread."""
        self._thread.start()
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.close()

    def close(self) -> None:
        """Ends the thread, after the block that it is at."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        try:
            for block in self._blocks:
                if not self._put(block):
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001  (raised by the iterator)
            self._put(error)

    def _put(self, item: Float32 | BaseException | None) -> bool:
        """Appends an item when there is space; returns False if the rest is not wanted."""
        while not self._is_over.is_set():
            try:
                self._queue.put(item, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return True
        return False


def few_at_a_time(blocks: Iterator[Float32]) -> Iterator[Float32]:
    """Yields blocks; few threads get one at a time."""
    while True:
        with _at_a_time:
            block = next(blocks, None)
        if block is None:
            return
        yield block


def _forget_threads() -> None:
    """Frees what was held by threads that a fork has not."""
    global _at_a_time  # noqa: PLW0603  (a lock cannot be reset)
    _at_a_time = BoundedSemaphore(_MAX_AT_A_TIME)


os.register_at_fork(after_in_child=_forget_threads)
