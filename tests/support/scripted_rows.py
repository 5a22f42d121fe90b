"""A scripted implementation with rows that end one by one, as those of a device do."""

import math
from collections.abc import Sequence

from implementations.errors import ImplementationFailedError, NonFiniteLogitsError
from implementations.request import DecodedWindow
from implementations.row_decoder import RowDecoder, RowResult, RowWindow
from tests.support.scripted import Script, ScriptedImplementation


class ScriptedRows(RowDecoder):
    """Rows that each take as many steps as their window; keeps how many were busy at a time."""

    def __init__(self, n_rows: int, implementation: "RowImplementation") -> None:
        super().__init__(n_rows)
        self._implementation = implementation
        self._busy: dict[int, tuple[DecodedWindow, int]] = {}
        """Result and steps left by key."""
        self.is_closed = False

    @property
    def n_free(self) -> int:
        return self.n_rows - len(self._busy)

    def add(self, windows: Sequence[RowWindow]) -> None:
        assert 0 < len(windows) <= self.n_free
        if len(self._busy) + len(windows) > self._implementation.max_rows:
            raise ImplementationFailedError("there is no room")
        for each in windows:
            assert each.key not in self._busy
            decoded = self._implementation.decode(each.audio_features, each.request)
            self._busy[each.key] = decoded, decoded.n_steps

    def advance(self) -> list[RowResult]:
        self._implementation.widths.append(len(self._busy))
        if len(self._implementation.widths) in self._implementation.failing:
            raise ImplementationFailedError("the device failed")
        fewest = min((left for _, left in self._busy.values()), default=0)
        self._busy = {key: (d, left - fewest) for key, (d, left) in self._busy.items()}
        ended = [key for key, (_, left) in self._busy.items() if left == 0]
        results = []
        for key in ended:
            decoded, _ = self._busy.pop(key)
            is_broken = math.isinf(decoded.no_speech_prob)
            error = NonFiniteLogitsError() if is_broken else None
            results.append(RowResult(key, None if is_broken else decoded, error))
        return results

    def close(self) -> None:
        self._busy = {}
        self.is_closed = True


class RowImplementation(ScriptedImplementation):
    """Decodes in `ScriptedRows`; a window whose probability of silence is infinite fails."""

    windows_at_once = 4

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.rows_of_auto = 3
        self.widths: list[int] = []
        """Busy rows at each call of `advance`."""
        self.max_rows = 1024
        self.failing: set[int] = set()
        """Numbers of the calls of `advance` that fail, from 1."""
        self.decoders: list[ScriptedRows] = []

    @property
    def default_rows(self) -> int:
        return self.rows_of_auto

    def row_decoder(self, n_rows: int) -> ScriptedRows:
        self.decoders.append(ScriptedRows(n_rows, self))
        return self.decoders[-1]
