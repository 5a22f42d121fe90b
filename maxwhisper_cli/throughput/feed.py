"""A list of recordings that is not known beforehand: the next one is asked for as it is needed.

It lets several processes, or machines, share one queue of work: each holds what it works on and a
little more. `read_ahead.py` reads what a feed gives, and asks for the next early.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Generic, TypeVar

Source = TypeVar("Source")

NOTHING_NOW: Final[AbstractContextManager[Any]] = nullcontext()
"""Stands for a recording where a feed has none now: ask again once another has gone on."""


class Feed(ABC, Generic[Source]):
    """Sources of recordings; asked by one thread at a time."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """True once no more sources come."""

    @abstractmethod
    def take(self) -> Source | None:
        """Returns the next source; None if there is none now, or no more.

        It may wait for an answer, but never for another recording to end.
        """
