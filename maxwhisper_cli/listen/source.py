"""Sources of live audio: blocks at 16 kHz as they come, read by a thread of their own.

Nothing is lost while the model works: what comes in meanwhile waits, and is fetched at once.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, TypeAlias

import numpy as np
import soxr

from maxwhisper_cli.audio.stream import Float32
from maxwhisper_cli.transcription.mel import SAMPLE_RATE
from weights.closing import Closing

_END: Final = None
_Item: TypeAlias = int | Float32 | BaseException | None
"""The sample rate, then blocks, and at the end None or the error that ended them."""


class LiveSource(Closing):
    """Audio that comes in as time goes by; a context manager."""

    name: str
    """Name in messages."""
    is_live: bool
    """True if the audio comes as it is recorded, not as fast as it is read."""

    @abstractmethod
    def read(self, timeout: float) -> Float32 | None:
        """Returns all samples that have come, after waiting for some if there are none.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Mono samples at 16 kHz, empty after a timeout; None at the end.

        Raises:
            MaxWhisperError: The source has failed; samples before that were returned.
        """


@dataclass(frozen=True, slots=True)
class LiveBlocks:
    """Mono blocks as they come."""

    sample_rate: int
    blocks: Iterator[Float32]


class ThreadedSource(LiveSource):
    """Blocks of an iterator that a thread goes through; they are resampled as they are read.

    The thread may wait for a pipe for ever. It holds the iterator and a queue: a resampler that it
    held at the program's end would be reported as leaked, on the terminal.
    """

    def __init__(self, name: str, start: Callable[[], LiveBlocks], *, is_live: bool) -> None:
        """Starts the thread.

        Args:
            name: Name in messages.
            start: Returns the blocks; called in the thread, which may wait for it.
            is_live: True if the audio comes as it is recorded.
        """
        self.name = name
        self.is_live = is_live
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._resampler: soxr.ResampleStream | None = None
        self._ended: BaseException | bool = False
        Thread(target=_queue_blocks, args=(start, self._queue), name=name, daemon=True).start()

    def read(self, timeout: float) -> Float32 | None:
        """Returns the blocks that have come, joined."""
        found: list[Float32] = []
        while not self._ended:
            try:
                item = self._queue.get(block=not found, timeout=None if found else timeout)
            except Empty:
                break
            self._take(item, found)
        if found:
            return np.concatenate(found)
        if isinstance(self._ended, BaseException):
            raise self._ended
        return None if self._ended else np.empty(0, np.float32)

    def close(self) -> None:
        """Frees the resampler, and leaves the thread alone."""
        self._resampler = None

    def _take(self, item: _Item, found: list[Float32]) -> None:
        """Adds the samples of an item, at 16 kHz."""
        if isinstance(item, int):
            if item != SAMPLE_RATE:
                self._resampler = soxr.ResampleStream(item, SAMPLE_RATE, 1, quality="HQ")
        elif isinstance(item, np.ndarray):
            found.append(item if self._resampler is None else self._resampler.resample_chunk(item))
        else:
            self._ended = True if item is _END else item
            if self._resampler is not None:
                found.append(self._resampler.resample_chunk(np.empty(0, np.float32), last=True))


def _queue_blocks(start: Callable[[], LiveBlocks], queue: SimpleQueue[_Item]) -> None:
    try:
        live = start()
        queue.put(live.sample_rate)
        for block in live.blocks:
            queue.put(block)
        queue.put(_END)
    except BaseException as error:  # noqa: BLE001  (raised by `read`)
        queue.put(error)
