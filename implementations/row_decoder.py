"""Continuous batching as every implementation offers it: a row that ends takes the next window.

Rows are windows of any recordings, each with a request of its own: prompt, rules, temperature and
search may differ. What a row says does not depend on its neighbours.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from implementations.errors import NonFiniteLogitsError
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from weights.closing import Closing
from weights.errors import MaxWhisperError


class UnwantedWindowError(MaxWhisperError):
    """Nobody waits for a window any longer; its row was freed."""

    def __init__(self) -> None:
        super().__init__("nobody waits for this window any longer")


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class RowWindow:
    """A window that waits for a row."""

    key: int
    """Name of the caller's choice, which comes back with the result."""
    audio_features: AudioFeatures
    """Its encoder output, a batch of one."""
    request: DecodeRequest
    is_wanted: Callable[[], bool] = _always
    """Asked between steps: once it returns False, the window ends with UnwantedWindowError."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """A window that ended: its decoding, or the error that it alone met."""

    key: int
    decoded: DecodedWindow | None
    error: MaxWhisperError | None = None
    """Error, if there is no decoding: NaN logits in this row, or nobody waits for it."""


class RowDecoder(Closing):
    """Decoding of up to `n_rows` windows at a time; a context manager.

    Windows are added while rows are free; `advance` decodes until some end, which frees their rows.
    """

    def __init__(self, n_rows: int) -> None:
        """Stores the number of rows, at least 1."""
        self.n_rows = n_rows

    @property
    @abstractmethod
    def n_free(self) -> int:
        """Number of windows that may be added now."""

    @abstractmethod
    def add(self, windows: Sequence[RowWindow]) -> None:
        """Gives windows to free rows, at most `n_free`; their prompts may be fed together.

        Raises:
            ImplementationFailedError: So many at once do not fit into memory; none was added.
        """

    @abstractmethod
    def advance(self) -> list[RowResult]:
        """Decodes until at least one window ends, and returns those that did; none if no row is.

        Raises:
            ImplementationFailedError: The device failed; all rows are lost.
        """

    @abstractmethod
    def close(self) -> None:
        """Frees all rows; harmless when repeated."""


class SerialRowDecoder(RowDecoder):
    """Rows of an implementation that decodes one window after the other."""

    def __init__(
        self, n_rows: int, decode: Callable[[AudioFeatures, DecodeRequest], DecodedWindow]
    ) -> None:
        """Stores the function that decodes one window."""
        super().__init__(n_rows)
        self._decode = decode
        self._waiting: deque[RowWindow] = deque()

    @property
    def n_free(self) -> int:
        """Number of windows that may be added now."""
        return self.n_rows - len(self._waiting)

    def add(self, windows: Sequence[RowWindow]) -> None:
        """Queues windows."""
        self._waiting.extend(windows)

    def advance(self) -> list[RowResult]:
        """Decodes the window that waited longest."""
        if not self._waiting:
            return []
        window = self._waiting.popleft()
        if not window.is_wanted():
            return [RowResult(window.key, None, UnwantedWindowError())]
        try:
            decoded = self._decode(window.audio_features, window.request)
        except NonFiniteLogitsError as error:
            return [RowResult(window.key, None, error)]
        return [RowResult(window.key, decoded)]

    def close(self) -> None:
        """Forgets the windows that wait."""
        self._waiting.clear()
