"""Several steps that each feed the most likely token, against the same in numpy."""

import numpy as np
import pytest

from implementations.decoding.rules import RuleBook
from implementations.max_graph.graphs.token_state import (
    IS_FINISHED,
    LATEST,
    LIMIT,
    N_SAMPLED,
    N_STATE_FIELDS,
    OFFSET,
    PENULTIMATE,
    TOKEN,
)
from implementations.max_graph.token_state import rule_mask, rule_numbers
from implementations.request import TokenRules
from tests.support import cpu_kernels
from tests.support.cpu_kernels import N_TOKENS, N_VOCAB
from tests.support.random_decoder import RandomDecoder, decoder

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

NEVER = N_VOCAB - 1
PROMPT = np.random.default_rng(3).integers(0, 900, 20).tolist()
TOLERANCE = {"float32": 1e-3, "float16": 1e-3, "int8": 0.1, "bfloat16": 0.5}
"""Absolute, of the sum of up to 49 log-probabilities; see test_top_k.py for what each is off."""
LEAST_GAP = {"float32": 2e-4, "float16": 2e-4, "int8": 2e-4, "bfloat16": 0}
"""Least distance of the two highest logits of a step: nearer ones might change places."""


def rules(*, eot: int = NEVER, with_timestamps: bool = False, begin: int = 903) -> TokenRules:
    return TokenRules(eot, begin, None, (901, 902, 5, 6, 7), with_timestamps=with_timestamps)


def check_text(model: RandomDecoder, book: TokenRules, sampled: list[int], most: int) -> float:
    """Holds each token to numpy's logits behind those before it, of all positions at once.

    Returns the sum of the log-probabilities without the first's.
    """
    assert len(sampled) == most or (sampled[-1] == book.eot and len(sampled) < most)
    all_logits = model.compute([*PROMPT, *sampled[:-1]]).logits[len(PROMPT) :].astype(np.float32)
    total = 0.0
    for n, token in enumerate(sampled[1:], 1):
        assert sampled[n - 1] != book.eot
        logits = all_logits[n - 1 : n]
        (log_total,) = RuleBook(book).apply(logits, [sampled[:n]])
        second, highest = np.sort(logits[0])[-2:]
        assert highest - second > LEAST_GAP[model.name]
        assert token == int(logits[0].argmax())
        total += float(highest - log_total)
    return total


def begun(book: TokenRules, first: int, limit: int) -> np.ndarray:
    """The state after the prompt and a first token."""
    state = np.zeros(N_STATE_FIELDS, np.int32)
    state[[TOKEN, OFFSET, N_SAMPLED, LIMIT]] = first, len(PROMPT), 1, limit
    state[LATEST] = first if first >= book.timestamp_begin else -1
    return state


def decode(
    model: RandomDecoder, book: TokenRules, state: np.ndarray
) -> tuple[list[int], float, list[np.ndarray]]:
    """Runs the graph until the text ends: tokens, sum of log-probabilities, caches."""
    from max.driver import Buffer

    caches = model.new_caches(1)
    model.fill(caches, 0, model.compute(PROMPT), len(PROMPT))
    total, sampled = np.zeros(1, np.float32), [int(state[TOKEN])]
    buffers = [Buffer.from_numpy(array) for array in (state, total)]
    while not state[IS_FINISHED]:
        before = int(state[N_SAMPLED])
        mask = rule_mask(book, N_VOCAB)
        (tokens,) = model.run("greedy", *buffers, rule_numbers(book), mask, caches=caches)
        n_new = int(state[N_SAMPLED]) - before
        assert 0 < n_new <= N_TOKENS
        sampled += tokens[:n_new].tolist()
    return sampled, float(total[0]), caches


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("limit", [2, N_TOKENS, N_TOKENS + 1, N_TOKENS + 2, 50])
def test_texts_up_to_a_limit(name: str, limit: int) -> None:
    """50 tokens behind a prompt of 20 fill the cache of 70 positions but for the last one."""
    model, book = decoder(name), rules()
    state = begun(book, 17, limit)
    sampled, found, _ = decode(model, book, state)
    assert found == pytest.approx(check_text(model, book, sampled, limit), abs=TOLERANCE[name])
    assert state[[TOKEN, OFFSET, N_SAMPLED]].tolist() == [sampled[-1], 19 + limit, limit]
    assert state[PENULTIMATE] == sampled[-2]


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
def test_a_text_ends_with_its_end_token(name: str) -> None:
    model = decoder(name)
    endless, _, _ = decode(model, rules(), begun(rules(), 17, 12))
    n = next(n for n in range(4, 12) if endless[n] not in endless[:n])
    book = rules(eot=endless[n])
    state = begun(book, 17, 40)
    sampled, found, _ = decode(model, book, state)
    assert sampled == endless[: n + 1]
    assert found == pytest.approx(check_text(model, book, sampled, 40), abs=TOLERANCE[name])


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("begin", [903, 990])
def test_timestamps_come_in_pairs(name: str, begin: int) -> None:
    model, book = decoder(name), rules(eot=900, with_timestamps=True, begin=begin)
    state = begun(book, begin, 12)
    sampled, found, _ = decode(model, book, state)
    assert found == pytest.approx(check_text(model, book, sampled, 12), abs=TOLERANCE[name])
    assert state[LATEST] == max(token for token in sampled if token >= begin)


def test_a_text_that_has_ended_stays_as_it_is() -> None:
    from max.driver import Buffer

    model, book = decoder("float32"), rules()
    state = begun(book, 17, 40)
    state[IS_FINISHED] = 1
    before, total, caches = state.copy(), np.full(1, 0.5, np.float32), model.new_caches(1)
    buffers = [Buffer.from_numpy(array) for array in (state, total)]
    model.run("greedy", *buffers, rule_numbers(book), rule_mask(book, N_VOCAB), caches=caches)
    np.testing.assert_array_equal(state, before)
    assert total[0] == 0.5
    assert all(np.isnan(cache).all() for cache in caches)


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
def test_where_nothing_is_a_number_the_text_ends(name: str) -> None:
    model, book = RandomDecoder(name, 128), rules()
    model.positional[len(PROMPT) + 3] = np.nan
    sampled, _, _ = decode(model, book, begun(book, 17, 40))
    assert len(sampled) == 5
    assert sampled[-1] == book.eot
