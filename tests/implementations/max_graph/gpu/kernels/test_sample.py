"""whisper_gpu_sample beside the host's rules and search: likely tokens, draws, ends."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType

from implementations.decoding.rules import RuleBook
from implementations.max_graph.gpu.graphs.choice_ops import sample
from implementations.max_graph.graphs.token_state import (
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
from implementations.max_graph.token_state import hypothesis_states, rule_mask, rule_numbers
from implementations.request import TokenRules
from tests.support.gpu_ops import (
    F32,
    I32,
    Array,
    FloatArray,
    GpuOps,
    OneOp,
    mutable,
    normal,
    tensor,
)
from tests.support.hardware import needs_max_gpu
from tests.support.token_rules import RULES, TEXTS, masked_logits

pytestmark = [pytest.mark.gpu, needs_max_gpu]

N_CTX = 20
LOGPROB_TOLERANCE = 1e-4
"""Sums of up to 51,866 exponentials in float32."""
DRAW_TOLERANCE = 1e-5
"""Tolerance of the drawn number, from 0 to 1: equal sums in another order than the host's."""


def graph(*, is_first: bool) -> OneOp:
    def build(*values: Any) -> None:
        sample(values[:3], values[3], values[4:], is_first=is_first)

    inputs = (
        mutable(I32, "n_rows", N_STATE_FIELDS),
        mutable(I32, "n_rows", "n_ctx"),
        mutable(F32, "n_rows"),
        tensor(F32, 1, "n_lines", "n_vocab"),
        tensor(I32, N_RULES),
        tensor(DType.uint8, "n_vocab"),
        tensor(F32, "n_rows", "n_ctx"),
        tensor(F32, 1),
    )
    return OneOp(inputs, build)


OPS = GpuOps(first=graph(is_first=True), step=graph(is_first=False))


def run(
    name: str,
    states: Array,
    logits: FloatArray,
    rules: TokenRules,
    draws: Array | None = None,
    temperature: float = 0.0,
) -> tuple[Array, Array, Array]:
    """States, history and sums afterwards; these begin with 100, 101 and so on."""
    n_rows = len(states)
    history = np.full((n_rows, N_CTX), -7)
    draws = np.zeros((n_rows, N_CTX)) if draws is None else draws
    mask = rule_mask(rules, logits.shape[-1])
    given = (states, history, 100.0 + np.arange(n_rows), logits[None], rule_numbers(rules), mask)
    states, history, sums = OPS.run(name, *given, draws, np.array([temperature]))
    return states, history, sums - 100 - np.arange(n_rows, dtype=np.float32)


def states_of(texts: list[list[int]], rules: TokenRules, limit: int = N_CTX) -> Array:
    states = hypothesis_states(texts, 50, rules.timestamp_begin)
    states[:, LIMIT] = limit
    return states


def check_states(before: Array, after: Array, tokens: Array, rules: TokenRules) -> None:
    """All fields of rows that a token was chosen for after the first."""
    np.testing.assert_array_equal(after[:, TOKEN], tokens)
    np.testing.assert_array_equal(after[:, OFFSET], before[:, OFFSET] + 1)
    np.testing.assert_array_equal(after[:, N_SAMPLED], before[:, N_SAMPLED] + 1)
    np.testing.assert_array_equal(after[:, PENULTIMATE], before[:, TOKEN])
    is_time = tokens >= rules.timestamp_begin
    np.testing.assert_array_equal(after[:, LATEST], np.where(is_time, tokens, before[:, LATEST]))
    ended = (tokens == rules.eot) | (after[:, N_SAMPLED] >= after[:, LIMIT])
    np.testing.assert_array_equal(after[:, IS_FINISHED], ended)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("n_vocab", [733, 1003, 51866])
@pytest.mark.parametrize("scale", [0.1, 1.0, 9.0])
@pytest.mark.parametrize("n_rows", [1, 2, 7, len(TEXTS)])
def test_steps_take_the_most_likely_token(
    rules: TokenRules, n_vocab: int, scale: float, n_rows: int
) -> None:
    texts = [text for text in TEXTS if max(text) < n_vocab][:n_rows]
    logits = normal(len(texts), n_vocab, scale=scale)
    before = states_of(texts, rules)
    after, history, gained = run("step", before, logits, rules)
    masked, logsumexps = masked_logits(rules, logits, texts)
    tokens = masked.argmax(axis=-1)
    check_states(before, after, tokens, rules)
    for row, text in enumerate(texts):
        assert history[row, len(text)] == tokens[row]
        assert (np.delete(history[row], len(text)) == -7).all()
    expected = masked[np.arange(len(texts)), tokens] - logsumexps
    np.testing.assert_allclose(gained, expected, rtol=0, atol=LOGPROB_TOLERANCE)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(("n_windows", "n_group"), [(1, 1), (1, 5), (3, 1), (3, 5)])
def test_first_tokens_come_from_the_second_half_of_lines(
    rules: TokenRules, n_windows: int, n_group: int
) -> None:
    logits = normal(2 * n_windows, 1003)
    before = np.zeros((n_windows * n_group, N_STATE_FIELDS), np.int32)
    before[:, [OFFSET, LATEST, LIMIT]] = 4, -1, N_CTX
    after, _, gained = run("first", before, logits, rules)
    masked, logsumexps = masked_logits(rules, logits[n_windows:], [[]] * n_windows)
    tokens = masked.argmax(axis=-1)
    np.testing.assert_array_equal(after[:, TOKEN], np.repeat(tokens, n_group))
    assert (after[:, OFFSET] == 4).all()
    expected = np.repeat(masked.max(axis=-1) - logsumexps, n_group)
    np.testing.assert_allclose(gained, expected, rtol=0, atol=LOGPROB_TOLERANCE)


def test_of_equals_the_first_is_taken() -> None:
    rules = RULES[0]
    for tied in ([31, 30, 600], [0, 512], [8191, 8192, 40000], [255, 256, 257]):
        logits = normal(1, 51866)
        logits[0, tied] = 20
        after, _, _ = run("step", states_of([[5, 6]], rules), logits, rules)
        assert after[0, TOKEN] == min(tied)


def test_minus_infinity_is_never_taken_and_weighs_nothing() -> None:
    rules, text = RULES[0], [5, 6]
    logits = np.full((1, 1003), -np.inf, np.float32)
    logits[0, [3, 40]] = 1.0, 2.0
    after, _, gained = run("step", states_of([text], rules), logits, rules)
    assert after[0, TOKEN] == 40
    np.testing.assert_allclose(gained[0], -np.log1p(np.exp(-1.0)), atol=LOGPROB_TOLERANCE)


def test_where_nothing_may_come_the_text_ends() -> None:
    rules = TokenRules(eot=9, timestamp_begin=11, no_speech=None, suppressed=tuple(range(20)))
    after, history, _ = run("step", states_of([[5, 6]], rules), normal(1, 20), rules)
    assert (after[0, TOKEN], after[0, IS_FINISHED], history[0, 2]) == (9, 1, 9)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_rows_that_ended_stay_and_others_end_at_their_limit(temperature: float) -> None:
    rules, texts = RULES[1], [[5, 6], [7, 8, 9], [4, 3], [6]]
    before = states_of(texts, rules, limit=3)
    before[1, [IS_FINISHED, LIMIT]] = 1, 99
    logits = normal(4, 1003)
    after, history, gained = run("step", before, logits, rules, temperature=temperature)
    np.testing.assert_array_equal(after[1], before[1])
    assert (history[1] == -7).all()
    assert gained[1] == 0
    np.testing.assert_array_equal(after[:, IS_FINISHED], [1, 1, 1, 0])


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("n_vocab", [1003, 51866])
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_draws_fall_into_their_token(rules: TokenRules, n_vocab: int, temperature: float) -> None:
    texts = TEXTS * 4
    logits = normal(len(texts), n_vocab, scale=2.0)
    draws = np.random.default_rng(5).random((len(texts), N_CTX), np.float32)
    draws[0], draws[1], draws[2] = 0, 1 - 2**-24, 0.5
    before = states_of(texts, rules)
    after, _, gained = run("step", before, logits, rules, draws, temperature)
    masked, logsumexps = masked_logits(rules, logits, texts)
    tokens = after[:, TOKEN]
    check_states(before, after, tokens, rules)
    chosen = masked[np.arange(len(texts)), tokens]
    assert (chosen > -np.inf).all()
    np.testing.assert_allclose(gained, chosen - logsumexps, rtol=0, atol=LOGPROB_TOLERANCE)
    for row, (token, text) in enumerate(zip(tokens, texts, strict=True)):
        shares = np.exp((masked[row].astype(np.float64) - masked[row].max()) / temperature)
        ends = shares.cumsum() / shares.sum()
        start = ends[token] - shares[token] / shares.sum()
        at = draws[row, len(text)]
        assert start - DRAW_TOLERANCE <= at <= ends[token] + DRAW_TOLERANCE


def test_rules_agree_with_the_books() -> None:
    """The reference masks something: not every test above passes without rules."""
    logits = np.zeros((len(TEXTS), 1003), np.float32)
    RuleBook(RULES[0]).apply(logits, TEXTS)
    assert (logits == -np.inf).any(axis=-1).all()
