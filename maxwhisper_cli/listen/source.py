"""Sources of live audio: blocks at 16 kHz as they come, read by a thread of their own.

Nothing is lost while the model works: what comes in meanwhile waits, and is fetched at once.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

import numpy as np
import soxr

from maxwhisper_cli.audio.stream import Float32
from maxwhisper_cli.transcription.mel import SAMPLE_RATE
from weights.closing import Closing

_END: Final = None


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


class ThreadedSource(LiveSource):
    """Blocks of an iterator that a thread goes through."""

    def __init__(
        self, name: str, blocks: Callable[[], Iterator[Float32]], *, is_live: bool
    ) -> None:
        """Starts the thread.

        Args:
            name: Name in messages.
            is_live: True if the audio comes as it is recorded.
            blocks: Returns the iterator; called in the thread, which may wait for it.
        """
        self.name = name
        self.is_live = is_live
        self._queue: SimpleQueue[Float32 | BaseException | None] = SimpleQueue()
        self._ended: BaseException | bool = False
        self._thread = Thread(target=self._run, args=(blocks,), name="live audio", daemon=True)
        self._thread.start()

    def read(self, timeout: float) -> Float32 | None:
        """Returns the blocks that have come, joined."""
        found: list[Float32] = []
        while not self._ended:
            try:
                item = self._queue.get(block=not found, timeout=None if found else timeout)
            except Empty:
                break
            if isinstance(item, np.ndarray):
                found.append(item)
            else:
                self._ended = True if item is _END else item
        if found:
            return np.concatenate(found)
        if isinstance(self._ended, BaseException):
            raise self._ended
        return None if self._ended else np.empty(0, np.float32)

    def close(self) -> None:
        """Leaves the thread alone, which may wait for a pipe for ever."""

    def _run(self, blocks: Callable[[], Iterator[Float32]]) -> None:
        try:
            for block in blocks():
                self._queue.put(block)
            self._queue.put(_END)
        except BaseException as error:  # noqa: BLE001  (raised by `read`)
            self._queue.put(error)


def at_16_khz(blocks: Iterator[Float32], sample_rate: int) -> Iterator[Float32]:
    """Resamples mono blocks as they come; each may be shorter or longer than what was put in."""
    if sample_rate == SAMPLE_RATE:
        yield from blocks
        return
    resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
