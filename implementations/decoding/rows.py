"""Rows in lock-step: windows that are fed together, one token each a step, and end by themselves.

An implementation opens a session for each window and feeds all rows at once; searches, limits and
results are those of the generic loop.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from implementations.decoding.loop import WindowDecoding
from implementations.errors import NonFiniteLogitsError
from implementations.row_decoder import RowDecoder, RowResult, RowWindow, UnwantedWindowError
from implementations.session import DecoderSession


@dataclass(slots=True)
class Row:
    """A window in a row."""

    window: RowWindow
    decoding: WindowDecoding


class LockStepRowDecoder(RowDecoder):
    """Windows that take their steps together."""

    def __init__(self, n_rows: int) -> None:
        super().__init__(n_rows)
        self._rows: list[Row] = []
        self._ended: list[RowResult] = []
        """Windows that failed with their first tokens."""

    @property
    def n_free(self) -> int:
        """Number of windows that may be added now."""
        return self.n_rows - len(self._rows) - len(self._ended)

    @abstractmethod
    def open(self, window: RowWindow) -> DecoderSession:
        """Opens a session for a window, of as many hypotheses as its search has."""

    @abstractmethod
    def step(self, windows: Sequence[WindowDecoding]) -> None:
        """Feeds the latest tokens of all windows, and lets each search take the next ones."""

    def add(self, windows: Sequence[RowWindow]) -> None:
        """Feeds the windows' prompts and chooses their first tokens."""
        assert len(windows) <= self.n_free, "more windows than free rows"
        rows: list[Row] = []
        ended: list[RowResult] = []
        try:
            for window in windows:
                session = self.open(window)
                try:
                    rows.append(Row(window, WindowDecoding(session, window.request)))
                except BaseException as error:
                    session.close()
                    if not isinstance(error, NonFiniteLogitsError):
                        raise
                    ended.append(RowResult(window.key, None, error))
        except BaseException:
            for row in rows:
                row.decoding.session.close()
            raise
        self._rows += rows
        self._ended += ended

    def advance(self) -> list[RowResult]:
        """Takes steps until a window ends."""
        while not (results := self._take_ended()) and self._rows:
            self.step([row.decoding for row in self._rows])
        return results

    def _take_ended(self) -> list[RowResult]:
        """Removes the windows that have ended, and returns their results."""
        results, self._ended = self._ended, []
        for row in list(self._rows):
            is_wanted = row.window.is_wanted()
            if row.decoding.is_complete or not is_wanted:
                self._rows.remove(row)
                row.decoding.session.close()
                results.append(_result(row) if is_wanted else _unwanted(row))
        return results

    def close(self) -> None:
        """Closes all sessions."""
        while self._rows:
            self._rows.pop().decoding.session.close()
        self._ended.clear()


def _result(row: Row) -> RowResult:
    try:
        return RowResult(row.window.key, row.decoding.result())
    except NonFiniteLogitsError as error:
        return RowResult(row.window.key, None, error)


def _unwanted(row: Row) -> RowResult:
    return RowResult(row.window.key, None, UnwantedWindowError())
