"""Places of a GPU's decoder that are filled again and again, with graphs made up in numpy.

A text is made from the number that stands in its window's audio, and has a length of its own.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from implementations.errors import NonFiniteLogitsError
from implementations.request import DecodeRequest, Search, TokenRules
from implementations.row_decoder import RowResult, RowWindow, UnwantedWindowError
from tests.support.checkpoints import SMALL_DIMS

pytest.importorskip("max.driver", reason="MAX is not installed: maxwhisper[max]")

from max.driver import CPU, Buffer
from max.dtype import DType

from implementations.max_graph.features import MaxAudioFeatures
from implementations.max_graph.gpu import row_group, session
from implementations.max_graph.gpu.memory_budget import MemoryBudget
from implementations.max_graph.gpu.row_decoder import GpuRowDecoder
from implementations.max_graph.gpu.session import DecoderModels
from implementations.max_graph.graphs.token_state import (
    IS_FINISHED,
    LIMIT,
    N_SAMPLED,
    OFFSET,
    TOKEN,
)
from tests.support.host_buffers import array_of

EOT = 9
NO_NUMBERS = 13
"""Audio whose log-probabilities are NaN."""
RULES = TokenRules(eot=EOT, timestamp_begin=2000, no_speech=1)


def text_of(audio: float, prompt: tuple[int, ...], hypothesis: int = 0) -> list[int]:
    """Returns the tokens that the graphs below give for a window, end of text left out."""
    length = 1 + int(audio) * 5 % 13 + 2 * hypothesis
    return [100 + (int(audio) * 31 + prompt[-1] + hypothesis + 7 * i) % 800 for i in range(length)]


class _Graph:
    """A model whose execution is a function on the buffers' arrays."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self.n_replayed = 0

    def execute(self, *buffers: Buffer) -> list[Buffer]:
        results = self._run(*map(array_of, buffers))
        return [Buffer.from_numpy(result) for result in results]

    def capture(self, _key: int, *_inputs: Buffer) -> list[Buffer]:
        return []

    def replay(self, _key: int, *inputs: Buffer) -> None:
        self.n_replayed += 1
        self.execute(*inputs)

    def release_captured_graph(self, key: int) -> None:
        """Nothing was captured."""


def _feed(tokens: Any, _offsets: Any, slots: Any, windows: Any, *others: Any) -> list[Any]:
    """Keeps each prompt in its slot; logits tell the row's audio and its last token."""
    rows, cache, audio = others
    for row, text in enumerate(tokens):
        cache[0, slots[row, 0], : len(text), 0] = text
    n_new = tokens.shape[1]
    chosen = [(audio[windows[row // n_new], 0, 0], tokens.reshape(-1)[row]) for row in rows]
    return [np.array([chosen], np.float32)]


def _choose(states: Any, history: Any, sums: Any, row: int, audio: float, before: int) -> None:
    state = states[row]
    if state[IS_FINISHED]:
        return
    text = [*text_of(audio, (before,)), EOT]
    token = text[state[N_SAMPLED]]
    history[row, state[N_SAMPLED]] = token
    sums[row] += np.nan if audio == NO_NUMBERS else -0.5
    state[TOKEN] = token
    state[OFFSET] += state[N_SAMPLED] > 0
    state[N_SAMPLED] += 1
    state[IS_FINISHED] = token == EOT or state[N_SAMPLED] >= state[LIMIT]


def _first(logits: Any, states: Any, history: Any, sums: Any, *_others: Any) -> list[Any]:
    at_last = logits[0, logits.shape[1] // 2 :]
    for row, (audio, before) in enumerate(at_last):
        _choose(states, history, sums, row, audio, int(before))
    return [np.array(at_last[:, 0] / 100, np.float32)]


def _step(slots: Any, windows: Any, cache: Any, audio: Any, *choice: Any) -> list[Any]:
    states, history, sums = choice[:3]
    for row, state in enumerate(states):
        if not state[IS_FINISHED]:
            first = state[OFFSET] - state[N_SAMPLED] + 1
            before = int(cache[0, slots[row, 0], first - 1, 0])
            _choose(states, history, sums, row, audio[windows[row], 0, 0], before)
    return []


def _copy_at_once(into: Buffer, source: Buffer) -> None:
    """Copies as a GPU's queue does, in order; copies on a CPU are not waited for."""
    np.copyto(array_of(into), array_of(source))


def _copy_all_at_once(targets: Sequence[Buffer], sources: Sequence[Buffer]) -> None:
    for into, source in zip(targets, sources, strict=True):
        _copy_at_once(into, source)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> GpuRowDecoder:
    """Four rows on made-up graphs."""
    graphs: dict[str, Any] = {"decoder": _feed, "sample_first": _first, "sample_step": _step}
    graphs["cross_kv"] = lambda features: [np.repeat(features[:, :, :1], 2, axis=2)]
    models = DecoderModels(
        SMALL_DIMS,
        DType.float32,
        CPU(),
        {name: _Graph(run) for name, run in graphs.items()},  # type: ignore[misc]
        threading.RLock(),
        MemoryBudget(SMALL_DIMS, "float32", "cuda:0", None, None),
    )
    shape = (SMALL_DIMS.n_audio_ctx, 2)
    monkeypatch.setattr(Buffer, "inplace_copy_from", _copy_at_once)
    for module in (row_group, session):
        monkeypatch.setattr(module, "batch_inplace_copy", _copy_all_at_once)
    monkeypatch.setattr(
        DecoderModels,
        "new_audio",
        lambda _self, n: Buffer.zeros((n, *shape), DType.float32, CPU()),
    )
    opened = GpuRowDecoder(models, 4, _decode_alone)
    opened.open()
    return opened


def _decode_alone(features: Any, request: Any) -> Any:
    return SimpleNamespace(features=features, request=request)


def window(key: int, audio: float, **options: Any) -> RowWindow:
    features = np.full((1, SMALL_DIMS.n_audio_ctx, 4), audio, np.float32)
    fields: dict[str, Any] = {
        "prompt": (3, 4, 10 + key),
        "sot_index": 1,
        "n_text_ctx": SMALL_DIMS.n_text_ctx,
    }
    fields |= {"max_new_tokens": 30, "rules": RULES, "search": Search()} | options
    return RowWindow(key, MaxAudioFeatures(Buffer.from_numpy(features)), DecodeRequest(**fields))


def decode(rows: GpuRowDecoder, waiting: list[RowWindow], at_once: int) -> dict[int, RowResult]:
    found: dict[int, RowResult] = {}
    while waiting or rows.n_free < rows.n_rows:
        n_new = min(rows.n_free, len(waiting), at_once)
        rows.add(waiting[:n_new])
        del waiting[:n_new]
        results = rows.advance()
        assert results
        found |= {result.key: result for result in results}
    return found


@pytest.mark.parametrize("at_once", [1, 2, 4])
@pytest.mark.parametrize(("steps", "blocks"), [(1, 1), (4, 2), (3, 3)])
def test_every_window_gets_its_own_text(
    rows: GpuRowDecoder, monkeypatch: pytest.MonkeyPatch, at_once: int, steps: int, blocks: int
) -> None:
    monkeypatch.setattr(row_group, "STEPS_AHEAD", steps)
    monkeypatch.setattr(row_group, "BLOCKS_AHEAD", blocks)
    windows = [window(key, audio=key % 11, max_new_tokens=4 + key % 9) for key in range(25)]
    found = decode(rows, list(windows), at_once)
    assert sorted(found) == list(range(25))
    for each in windows:
        decoded = found[each.key].decoded
        assert decoded is not None
        audio = float(each.key % 11)
        expected = text_of(audio, each.request.prompt)[: each.request.max_new_tokens]
        assert list(decoded.tokens) == expected
        n_chosen = min(len(expected) + 1, each.request.max_new_tokens)
        assert decoded.n_steps == n_chosen - 1
        assert decoded.sum_logprob == -0.5 * n_chosen
        assert decoded.no_speech_prob == pytest.approx(audio / 100)


def test_other_rules_and_temperatures_decode_beside_each_other(rows: GpuRowDecoder) -> None:
    other = TokenRules(eot=EOT, timestamp_begin=2000, no_speech=1, suppressed=(3,))
    kinds: list[dict[str, Any]] = [{}, {"rules": other}, {"search": Search(temperature=0.4)}]
    windows = [window(key, audio=key, **kinds[key % 3]) for key in range(12)]
    found = decode(rows, list(windows), 4)
    for each in windows:
        decoded = found[each.key].decoded
        assert decoded is not None
        assert list(decoded.tokens) == text_of(each.key, each.request.prompt)
    assert len(rows._groups) == 3


def test_more_kinds_than_are_kept_take_turns(rows: GpuRowDecoder) -> None:
    windows = [window(key, key, search=Search(temperature=0.1 * key)) for key in range(1, 12)]
    found = decode(rows, list(windows), 4)
    assert len(found) == len(windows)
    assert all(result.decoded is not None for result in found.values())


def test_a_row_without_numbers_fails_alone(rows: GpuRowDecoder) -> None:
    found = decode(rows, [window(0, audio=3), window(1, NO_NUMBERS), window(2, audio=4)], 3)
    assert isinstance(found[1].error, NonFiniteLogitsError)
    assert found[0].decoded is not None
    assert found[2].decoded is not None


def test_a_row_that_nobody_waits_for_is_freed(rows: GpuRowDecoder) -> None:
    """The next window gets its place, while the steps that were enqueued go on."""
    answers = iter([True, True])
    unwanted = replace(window(1, audio=2), is_wanted=lambda: next(answers, False))
    found = decode(rows, [unwanted, *(window(key, audio=key) for key in (2, 3, 4, 5))], 2)
    assert isinstance(found[1].error, UnwantedWindowError)
    alone = decode(rows, [window(key, audio=key) for key in (2, 3, 4, 5)], 1)
    assert {key: found[key] for key in alone} == alone
    assert rows.n_free == rows.n_rows


def test_a_prefix_goes_through_the_generic_loop(rows: GpuRowDecoder) -> None:
    given = window(5, audio=3, n_given=1)
    found = decode(rows, [window(0, audio=2), given], 4)
    alone: Any = found[5].decoded
    assert alone.request is given.request
    assert found[0].decoded is not None


def test_rows_are_empty_after_closing(rows: GpuRowDecoder) -> None:
    rows.add([window(key, audio=12) for key in range(4)])
    rows.close()
    assert rows.n_free == 4
    assert rows.advance() == []
    rows.open()
    (result,) = decode(rows, [window(9, audio=2)], 1).values()
    assert result.decoded is not None
    assert list(result.decoded.tokens) == text_of(2, (19,))
