"""Recordings that no device has yet, and those that came back."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from maxwhisper_cli.devices.worker import Worker


class SharedQueue:
    """Queue of recordings, by their index in the input."""

    def __init__(self, sources: Sequence[Any]) -> None:
        self.waiting: deque[int] = deque(range(len(sources)))
        self._sources = sources
        self._returned_by: dict[int, Worker] = {}

    def next_for(self, worker: Worker, workers: Sequence[Worker]) -> int | None:
        """Returns the first recording for a worker: not one that failed there, if others are left.

        Args:
            worker: The worker.
            workers: All that are left.
        """
        is_only = len(workers) == 1
        fitting = (i for i in self.waiting if is_only or self._returned_by.get(i) is not worker)
        return next(fitting, None)

    def take(self, index: int) -> Any:  # noqa: ANN401  (a source of audio)
        """Takes a recording out; returns its source."""
        self.waiting.remove(index)
        return self._sources[index]

    def share(self, workers: Sequence[Worker]) -> int:
        """Returns the most recordings for one of the workers, of all that are not done."""
        n_left = len(self.waiting) + sum(len(each.given) for each in workers)
        return max(1, math.ceil(n_left / len(workers)))

    def give_back(self, index: int, worker: Worker) -> bool:
        """Puts a recording back at the head; False if it came back before."""
        if index in self._returned_by:
            return False
        self._returned_by[index] = worker
        self.waiting.appendleft(index)
        return True
