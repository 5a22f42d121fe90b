"""Context managers that only have to be closed at their end."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Context manager that is closed where its block ends, whatever ended it."""

    @abstractmethod
    def close(self) -> None:
        """Frees what is held; harmless when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
