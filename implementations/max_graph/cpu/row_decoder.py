"""Rows of several windows on the CPU: each step is one run of the graph `decode_rows`.

All rows share each read of the weights; each has a position, a cache and an audio of its own, which
the kernel finds by addresses. Searches are the generic loop's, on the host.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from max.driver import CPU, Buffer
from max.dtype import DType

from implementations.decoding.loop import WindowDecoding
from implementations.decoding.rows import LockStepRowDecoder
from implementations.max_graph.cpu.session import DecoderModels, MaxSession
from implementations.max_graph.features import own_features
from implementations.max_graph.token_state import hypothesis_states, rule_mask, rule_numbers
from implementations.request import TokenRules
from implementations.row_decoder import RowWindow
from implementations.session import FloatArray

_MAX_RULES = 64
"""Rules whose masks are kept; rows of a server may see any."""
_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one window in a step: a row for each hypothesis that has not ended."""

    window: WindowDecoding
    session: MaxSession
    live: list[int]
    """Its hypotheses that are fed."""
    n_ranked: int


class CpuRowDecoder(LockStepRowDecoder):
    """Windows whose hypotheses share each step of the decoder."""

    def __init__(self, models: DecoderModels, n_rows: int) -> None:
        super().__init__(n_rows)
        self._models = models
        self._rules: dict[TokenRules, tuple[_Array, _Array]] = {}
        """Numbers and mask of rules seen; kernels read masks by address."""

    def open(self, window: RowWindow) -> MaxSession:
        """Opens a session with a cache of its own."""
        features = own_features(window.audio_features)
        return MaxSession(self._models, features, window.request.search.n_group)

    def step(self, windows: Sequence[WindowDecoding]) -> None:
        """Feeds all live hypotheses; those that are ranked come before those that are drawn."""
        began = time.perf_counter()
        parts = []
        for window in sorted(windows, key=lambda window: window.search.n_ranked == 0):
            window.reorder()
            session = window.session
            assert isinstance(session, MaxSession)
            parts.append(_Part(window, session, window.search.live, window.search.n_ranked))
        tokens, logprobs = self._run(parts).swapaxes(0, 1)
        seconds = (time.perf_counter() - began) / len(parts)
        first = 0
        for part in parts:
            search, k = part.window.search, max(1, part.n_ranked)
            rows = slice(first, first + len(part.live))
            first = rows.stop
            shape = (len(search.sampled), k)
            next_tokens, sums = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
            next_tokens[part.live] = tokens[rows, :k]
            sums[part.live] = logprobs[rows, :k]
            missing = next_tokens < 0
            next_tokens[missing], sums[missing] = part.window.request.rules.eot, -np.inf
            part.window.take(search.take(next_tokens, sums), seconds)

    def _run(self, parts: Sequence[_Part]) -> FloatArray:
        """Runs `decode_rows` -> each row's tokens and log-probabilities, [n_rows, 2, k_max].

        Of those only the first `n_ranked`, and the one that is drawn, are filled.
        """
        models, counts = self._models, [len(part.live) for part in parts]
        k_max = max(1, *(part.n_ranked for part in parts))
        choice = Buffer(DType.float32, (sum(counts), 2, k_max), CPU())
        states, slots, source_slots = zip(*map(_position, parts), strict=True)
        state = np.concatenate(states)
        models.check_tokens(state[:, 0], int(state[:, 1].max()) + 1)
        rules = [self._rules_of(part.window.request.rules) for part in parts]
        addresses = [
            np.append(part.session.addresses(), mask.ctypes.data)
            for part, (_, mask) in zip(parts, rules, strict=True)
        ]
        temperatures = [part.window.request.search.temperature for part in parts]
        per_row = (
            np.array([numbers for numbers, _ in rules], np.int32),
            np.array([part.n_ranked for part in parts], np.int32),
            np.array(temperatures, np.float32),
        )
        operands: tuple[_Array, ...] = (
            *(np.repeat(values, counts, axis=0) for values in per_row),
            np.concatenate([_draws(part) for part in parts]),
            np.repeat(np.array(addresses, np.int64), counts, axis=0),
            np.array([0, *itertools.accumulate(counts)], np.int32),
            np.concatenate(slots),
            np.concatenate(source_slots),
        )
        with models.lock:
            buffers = models.table, *parts[0].session.buffers()
            # Buffers, since MAX looks up a protocol's members for each array: 50 us apiece.
            inputs = [Buffer.from_numpy(array) for array in (state, *operands)]
            models.models["decode_rows"].execute(choice, *inputs, *buffers)
            choice.device.synchronize()
        for part in parts:
            part.session.advance()
        chosen: FloatArray = choice.to_numpy()
        return chosen

    def _rules_of(self, rules: TokenRules) -> tuple[_Array, _Array]:
        if rules not in self._rules:
            if len(self._rules) >= _MAX_RULES:  # rules of a step that runs are held by it
                self._rules.clear()
            self._rules[rules] = rule_numbers(rules), rule_mask(rules, self._models.dims.n_vocab)
        return self._rules[rules]


def _position(part: _Part) -> tuple[_Array, _Array, _Array]:
    """Returns states, slots and source slots of a window's rows."""
    n_filled, slots, source_slots = part.session.next_position()
    sampled = [part.window.search.sampled[i] for i in part.live]
    states = hypothesis_states(sampled, n_filled, part.window.request.rules.timestamp_begin)
    return states, slots[part.live], source_slots[part.live]


def _draws(part: _Part) -> npt.NDArray[np.float64]:
    """Returns the random numbers of a window's rows; zeros where tokens are ranked."""
    if part.n_ranked:
        return np.zeros(len(part.live))
    return part.window.search.draws()[part.live]
