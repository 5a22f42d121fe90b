"""The operation `whisper_cpu_sample` against the generic sampling in numpy."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from implementations.decoding.rules import RuleBook
from implementations.decoding.sampling import SamplingSearch
from implementations.max_graph.token_state import hypothesis_states, rule_mask, rule_numbers
from implementations.request import Search, TokenRules
from tests.support import cpu_kernels
from tests.support.kernel_reference import random

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

TOLERANCE = 2e-5
"""Absolute, of log-probabilities of size 10: sums of float32 in another order."""
VOCABULARIES = cpu_kernels.SAMPLE_VOCABULARIES


def rules(n_vocab: int, n_times: int = 100, **changes: Any) -> TokenRules:
    """End of text, two special tokens, then timestamps at the end of the vocabulary."""
    begin = n_vocab - n_times
    suppressed = (begin - 2, begin - 1, 5, 6, 7)
    return replace(TokenRules(begin - 3, begin, None, suppressed), **changes)


def sample(
    logits: np.ndarray,
    sampled: Sequence[list[int]],
    book: TokenRules,
    draws: np.ndarray,
    temperature: float,
) -> tuple[np.ndarray, np.ndarray]:
    n_vocab = logits.shape[1]
    (choice,) = cpu_kernels.run(
        f"sample_{n_vocab}",
        logits,
        hypothesis_states(sampled, 9, book.timestamp_begin),
        rule_numbers(book),
        rule_mask(book, n_vocab),
        draws,
        np.array([temperature], np.float32),
    )
    return choice[:, 0].astype(int), choice[:, 1]


def expected(
    logits: np.ndarray,
    sampled: Sequence[list[int]],
    book: TokenRules,
    draws: np.ndarray,
    temperature: float,
) -> tuple[np.ndarray, np.ndarray]:
    masked = logits.copy()
    logsumexp = RuleBook(book).apply(masked, sampled)
    search = SamplingSearch(Search(temperature=temperature, n_group=len(logits)), book.eot)
    return search._draw_all(masked, logsumexp, draws)


def assert_equal(
    logits: np.ndarray,
    sampled: Sequence[list[int]],
    book: TokenRules,
    draws: np.ndarray,
    temperature: float,
) -> np.ndarray:
    tokens, logprobs = sample(logits, sampled, book, draws, temperature)
    expected_tokens, expected_logprobs = expected(logits, sampled, book, draws, temperature)
    np.testing.assert_array_equal(tokens, expected_tokens)
    np.testing.assert_allclose(logprobs, expected_logprobs, rtol=0, atol=TOLERANCE)
    return tokens


@pytest.mark.parametrize("n_vocab", VOCABULARIES)
@pytest.mark.parametrize("temperature", [0.001, 0.2, 0.4, 0.6, 0.8, 1.0, 2.5])
@pytest.mark.parametrize("n_group", [1, 3, 5, 9])
def test_draws_what_numpy_draws(n_vocab: int, temperature: float, n_group: int) -> None:
    logits = random(n_group, n_group, n_vocab, scale=4)
    sampled = [[n_vocab - 100, 3 + i, 10 * i] for i in range(n_group)]
    draws = np.random.default_rng(n_group).random(n_group)
    assert_equal(logits, sampled, rules(n_vocab), draws, temperature)


@pytest.mark.parametrize("n_vocab", VOCABULARIES)
def test_the_whole_distribution(n_vocab: int) -> None:
    """Places from the first to the last, the ends among them: every chunk is drawn from."""
    at = np.array([0.0, 1e-12, *np.linspace(0.001, 0.999, 61), np.nextafter(1.0, 0.0)])
    logits = np.repeat(random(3, 1, n_vocab), len(at), axis=0)
    sampled = [[17, 18]] * len(at)
    tokens = assert_equal(logits, sampled, rules(n_vocab, with_timestamps=False), at, 1.0)
    assert (np.diff(tokens) >= 0).all()
    assert len(set(tokens.tolist())) > 50


@pytest.mark.parametrize("n_vocab", VOCABULARIES)
@pytest.mark.parametrize("n_times", [2, 100])
@pytest.mark.parametrize(
    "sampled",
    [[0], [0, 17], [0, 17, 9], [0, 17, 9, 9], [0, 17, 18, 99], [17], [17, 18]],
    ids=["opened", "text", "closed", "opened-again", "at-the-end", "no-time", "texts"],
)
def test_timestamps_come_in_pairs_and_never_go_back(
    n_vocab: int, n_times: int, sampled: list[int]
) -> None:
    book = rules(n_vocab, n_times)
    times = {0, 9, 99}
    tokens = [min(book.timestamp_begin + t, n_vocab - 1) if t in times else t for t in sampled]
    logits = random(7, 20, n_vocab)
    draws = np.random.default_rng(1).random(20)
    assert_equal(logits, [tokens] * 20, book, draws, 1.0)


@pytest.mark.parametrize("n_vocab", VOCABULARIES)
def test_one_token_holds_all_weight(n_vocab: int) -> None:
    logits = random(5, 4, n_vocab)
    favourites = [0, 511, 512, n_vocab - 104]
    logits[np.arange(4), favourites] = 500.0
    draws = np.array([0.0, 0.3, 0.9, np.nextafter(1.0, 0.0)])
    book = rules(n_vocab, with_timestamps=False)
    tokens = assert_equal(logits, [[17]] * 4, book, draws, 0.2)
    assert tokens.tolist() == favourites


@pytest.mark.parametrize("n_vocab", VOCABULARIES)
def test_many_unlikely_tokens_beside_a_likely_one(n_vocab: int) -> None:
    """Each adds less than float32 keeps beside the highest, and all together a thousandth."""
    logits = np.full((3, n_vocab), np.log(1e-3 / n_vocab), np.float32)
    logits[:, 9] = 0
    sampled = [[17]] * 3
    book = rules(n_vocab, with_timestamps=False)
    tokens, logprobs = sample(logits, sampled, book, np.full(3, 0.5), 1.0)
    assert tokens.tolist() == [9] * 3
    n_allowed = n_vocab - len(book.suppressed) - 1
    exact = -np.log1p(n_allowed * 1e-3 / n_vocab)
    np.testing.assert_allclose(logprobs, exact, rtol=0, atol=1e-5)


def test_no_token_is_allowed_or_no_logit_is_a_number() -> None:
    (n_vocab, *_) = VOCABULARIES
    book = rules(n_vocab, with_timestamps=False, suppressed=tuple(range(n_vocab)))
    tokens, _ = sample(random(1, 1, n_vocab), [[17]], book, np.array([0.5]), 0.4)
    assert tokens.tolist() == [-1]
    none = np.full((1, n_vocab), np.nan, np.float32)
    tokens, _ = sample(none, [[17]], rules(n_vocab), np.array([0.5]), 0.4)
    assert tokens.tolist() == [-1]
