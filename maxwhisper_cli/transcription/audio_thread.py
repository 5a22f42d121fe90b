"""Blocks of samples that a thread decodes while the ones before are resampled.

For recordings that cannot be cut into spans. At most four blocks wait.
"""

from collections.abc import Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Final

from maxwhisper_cli.transcription.audio_stream import Float32

_N_WAITING: Final = 4
_LOOK_SECONDS: Final = 0.1
"""Longest time in which a thread notices that the rest is not wanted."""
_END_SECONDS: Final = 5.0


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
