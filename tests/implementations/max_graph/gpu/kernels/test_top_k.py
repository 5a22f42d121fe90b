"""whisper_gpu_top_k beside the host's rules: order, ties, log-probabilities, missing tokens."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import BufferValue, TensorValue

from implementations.max_graph.gpu.graphs.choice_ops import TOP_K, top_k
from implementations.max_graph.graphs.token_state import N_RULES, N_STATE_FIELDS
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

VOCABULARIES = [733, 1003, 8193, 51866, 65536]
"""Up to the largest that the operation takes."""
TOLERANCE = 1e-4
"""Tolerance of log-probabilities: sums of up to 65,536 exponentials in float32."""


def graph(n_vocab: int, *, is_first: bool) -> OneOp:
    def build(
        states: BufferValue, logits: TensorValue, rules: TensorValue, mask: TensorValue
    ) -> TensorValue:
        return top_k(states, logits, rules, mask, is_first=is_first)

    inputs = (
        mutable(I32, "n_rows", N_STATE_FIELDS),
        tensor(F32, 1, "n_lines", n_vocab),
        tensor(I32, N_RULES),
        tensor(DType.uint8, n_vocab),
    )
    return OneOp(inputs, build)


OPS = GpuOps(
    first_1003=graph(1003, is_first=True),
    **{f"step_{n_vocab}": graph(n_vocab, is_first=False) for n_vocab in VOCABULARIES},
)


def run(name: str, states: Array, logits: FloatArray, rules: TokenRules) -> tuple[Array, Array]:
    """Tokens and log-probabilities, [n_rows, MOST] each."""
    mask = rule_mask(rules, logits.shape[-1])
    name = f"{name}_{logits.shape[-1]}"
    found, states_after = OPS.run(name, states, logits[None], rule_numbers(rules), mask)
    np.testing.assert_array_equal(states_after, states)
    return found[..., 0].astype(int), found[..., 1]


def check(tokens: Array, logprobs: Array, masked: FloatArray, logsumexps: FloatArray) -> None:
    order = np.argsort(-masked, axis=-1, kind="stable")[:, :TOP_K]
    best = np.take_along_axis(masked, order, axis=-1)
    is_there = best > -np.inf
    np.testing.assert_array_equal(tokens[is_there], order[is_there])
    assert (logprobs[~is_there] == -np.inf).all()
    assert (tokens >= 0).all()
    assert (tokens < masked.shape[1]).all()
    expected = (best - logsumexps[:, None])[is_there]
    np.testing.assert_allclose(logprobs[is_there], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("n_vocab", VOCABULARIES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 9.0])
def test_top_k(rules: TokenRules, n_vocab: int, scale: float) -> None:
    texts = [text for text in TEXTS if max(text) < n_vocab]
    logits = normal(len(texts), n_vocab, scale=scale)
    states = hypothesis_states(texts, 50, rules.timestamp_begin)
    check(*run("step", states, logits, rules), *masked_logits(rules, logits, texts))


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(("n_windows", "n_beams"), [(1, 1), (1, 5), (3, 5)])
def test_first_tokens_come_from_the_second_half_of_lines(
    rules: TokenRules, n_windows: int, n_beams: int
) -> None:
    logits = normal(2 * n_windows, 1003)
    states = np.zeros((n_windows * n_beams, N_STATE_FIELDS), np.int32)
    masked, logsumexps = masked_logits(rules, logits[n_windows:], [[]] * n_windows)
    masked, logsumexps = np.repeat(masked, n_beams, 0), np.repeat(logsumexps, n_beams)
    check(*run("first", states, logits, rules), masked, logsumexps)


@pytest.mark.parametrize("n_vocab", [1003, 51866])
def test_ties_go_to_the_lower_token(n_vocab: int) -> None:
    rules, texts = RULES[1], [[5]] * 9
    logits = np.round(normal(9, n_vocab))
    states = hypothesis_states(texts, 50, rules.timestamp_begin)
    check(*run("step", states, logits, rules), *masked_logits(rules, logits, texts))


@pytest.mark.parametrize("n_left", [1, 3, 7, 8, 9])
def test_tokens_that_are_missing_come_last(n_left: int) -> None:
    rules, texts = RULES[0], [[5, 6]]
    logits = np.full((1, 1003), -np.inf, np.float32)
    logits[0, 20 * np.arange(3, 3 + n_left)] = normal(n_left)
    states = hypothesis_states(texts, 50, rules.timestamp_begin)
    check(*run("step", states, logits, rules), *masked_logits(rules, logits, texts))
