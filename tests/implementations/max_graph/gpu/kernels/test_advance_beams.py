"""whisper_gpu_advance_beams beside the host's beam search, step by step.

Sums are compared to the bit: both add the same numbers of float32.
"""

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.graph import BufferValue, TensorValue

from implementations.decoding.beam import BeamSearch
from implementations.max_graph.gpu.graphs.choice_ops import (
    N_BACK_POINTER_FIELDS,
    TOP_K,
    advance_beams,
)
from implementations.max_graph.graphs.token_state import (
    ENDINGS_LEFT,
    IS_FINISHED,
    LATEST,
    LIMIT,
    N_RULES,
    N_SAMPLED,
    N_STATE_FIELDS,
    OFFSET,
    PENULTIMATE,
    TOKEN,
)
from implementations.max_graph.token_state import rule_numbers
from implementations.request import Search, TokenRules
from tests.support.gpu_ops import F32, I32, Array, GpuOps, OneOp, mutable, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

EOT, TIMESTAMP_BEGIN, N_CTX = 9, 20, 40
RULES = TokenRules(EOT, TIMESTAMP_BEGIN, None)
GOES_ON = 1.0
"""Value for a hypothesis that did not end."""


def graph(*, is_first: bool) -> OneOp:
    def build(
        slots: BufferValue,
        states: BufferValue,
        sums: BufferValue,
        back_pointers: BufferValue,
        tokens: TensorValue,
        rules: TensorValue,
    ) -> None:
        advance_beams((slots, states, sums, back_pointers), tokens, rules, is_first=is_first)

    inputs = (
        mutable(I32, "n_rows", "n_ctx"),
        mutable(I32, "n_rows", N_STATE_FIELDS),
        mutable(F32, "n_rows"),
        mutable(I32, "n_windows", "n_ctx", "n_beams", N_BACK_POINTER_FIELDS),
        tensor(F32, "n_rows", TOP_K, 2),
        tensor(I32, N_RULES),
    )
    return OneOp(inputs, build)


OPS = GpuOps(first=graph(is_first=True), step=graph(is_first=False))


@dataclass
class Window:
    """Expected states and slots of a window's beams."""

    search: BeamSearch
    states: Array
    slots: Array

    def advance(self, found: Array) -> Array:
        """Take a step by what was found for each beam, [n_beams, MOST, 2], and give its notes."""
        n_beams = len(self.states)
        n_sampled = int(self.states[0, N_SAMPLED])
        before = [tuple(tokens) for tokens in self.search.sampled]
        ended_before = dict(self.search._finished)
        tokens = found[:, : n_beams + 1, 0].astype(np.int64)
        sources = self.search.extend(tokens, found[:, : n_beams + 1, 1])
        sources = [0] * n_beams if n_sampled == 0 else sources
        old = self.states.copy()
        new = np.array([sampled[-1] for sampled in self.search.sampled])
        self.states[:, TOKEN] = new
        self.states[:, OFFSET] = old[:, OFFSET] + (n_sampled > 0)
        self.states[:, N_SAMPLED] = n_sampled + 1
        self.states[:, PENULTIMATE] = old[sources, TOKEN]
        self.states[:, LATEST] = np.where(new >= TIMESTAMP_BEGIN, new, old[sources, LATEST])
        ended = [text for text in self.search._finished if text not in ended_before]
        self.states[:, ENDINGS_LEFT] = old[:, ENDINGS_LEFT] - len(ended)
        is_over = self.search.is_complete or n_sampled + 1 >= old[0, LIMIT]
        self.states[:, IS_FINISHED] = is_over
        offset = self.states[0, OFFSET]
        self.slots[:, :offset] = self.slots[sources, :offset]
        scores = np.full(n_beams, GOES_ON, np.float32)
        for text in ended:
            scores[before.index(text)] = self.search._finished[text]
        return np.stack([new, sources, scores.view(np.int32)], axis=-1)

    @property
    def is_over(self) -> bool:
        return bool(self.states[0, IS_FINISHED])


def opened(n_windows: int, n_beams: int, patience: float, limit: int) -> list[Window]:
    windows = []
    for index in range(n_windows):
        search = Search(n_group=n_beams, is_beam_search=True, patience=patience)
        states = np.zeros((n_beams, N_STATE_FIELDS), np.int32)
        states[:, [OFFSET, LATEST, LIMIT]] = 4 + index, -1, limit + index
        states[:, ENDINGS_LEFT] = search.max_finished
        slots = np.repeat(index * n_beams + np.arange(n_beams)[:, None], N_CTX, axis=1)
        windows.append(Window(BeamSearch(search, EOT), states, slots))
    return windows


def random_top_tokens(
    generator: np.random.Generator, n_rows: int, *, are_tied: bool, are_few: bool
) -> Array:
    """Tokens of each row with their log-probabilities, highest first."""
    tokens = np.array([generator.permutation(30)[:TOP_K] for _ in range(n_rows)])
    logprobs = -np.sort(generator.random((n_rows, TOP_K), np.float32) * 4, axis=-1)
    logprobs = np.round(logprobs) if are_tied else logprobs
    if are_few:
        logprobs[::2, 2:] = -np.inf
    return np.stack([tokens, logprobs], axis=-1).astype(np.float32)


@pytest.mark.parametrize("n_windows", [1, 3, 9])
@pytest.mark.parametrize("n_beams", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("patience", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["distinct", "tied", "few"])
def test_advance_beams(n_windows: int, n_beams: int, patience: float, kind: str) -> None:
    generator = np.random.default_rng(n_windows + n_beams)
    windows = opened(n_windows, n_beams, patience, limit=12)
    back_pointers = np.full((n_windows, N_CTX, n_beams, N_BACK_POINTER_FIELDS), -7, np.int32)
    for step in range(15):
        found = random_top_tokens(
            generator, n_windows * n_beams, are_tied=kind == "tied", are_few=kind == "few"
        )
        found = found.reshape(n_windows, n_beams, TOP_K, 2)
        if step == 0:
            found[:] = found[:, :1]  # all beams are the same
        slots, states, sums, pointers_after = OPS.run(
            "first" if step == 0 else "step",
            np.concatenate([window.slots for window in windows]),
            np.concatenate([window.states for window in windows]),
            np.concatenate([window.search._sum_logprobs for window in windows]),
            back_pointers,
            found.reshape(-1, TOP_K, 2),
            rule_numbers(RULES),
        )
        for index, window in enumerate(windows):
            if not window.is_over:
                n_sampled = window.states[0, N_SAMPLED]
                back_pointers[index, n_sampled] = window.advance(found[index])
        np.testing.assert_array_equal(states, np.concatenate([w.states for w in windows]))
        np.testing.assert_array_equal(slots, np.concatenate([w.slots for w in windows]))
        expected = np.concatenate([window.search._sum_logprobs for window in windows])
        np.testing.assert_array_equal(sums, expected)
        np.testing.assert_array_equal(pointers_after, back_pointers)
