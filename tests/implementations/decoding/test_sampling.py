"""Sampling above temperature 0: the right frequencies, the same for the same seed."""

import numpy as np

from implementations.decoding.sampling import SamplingSearch
from implementations.request import Search

EOT = 3
LOGITS = np.array([0.0, 1.0, 2.0, -np.inf], np.float32)
N_DRAWS = 20_000


def draw(temperature: float, seed: int, n_group: int = N_DRAWS) -> list[int]:
    search = SamplingSearch(Search(temperature=temperature, n_group=n_group, seed=(seed,)), EOT)
    logits = np.tile(LOGITS, (n_group, 1))
    search.advance(logits, np.zeros(n_group, np.float32))
    return [tokens[0] for tokens in search.sampled]


def test_frequencies_follow_the_tempered_softmax() -> None:
    for temperature in (0.4, 1.0):
        counts = np.bincount(draw(temperature, 0), minlength=4) / N_DRAWS
        weights = np.exp(LOGITS / temperature)
        # Five standard errors of a frequency over 20,000 draws are below 0.018.
        np.testing.assert_allclose(counts, weights / weights.sum(), atol=0.018)
        assert counts[EOT] == 0


def test_same_seed_same_tokens() -> None:
    assert draw(1.0, 7, 50) == draw(1.0, 7, 50)
    assert draw(1.0, 7, 50) != draw(1.0, 8, 50)


def test_ended_hypotheses_neither_grow_nor_gain() -> None:
    search = SamplingSearch(Search(temperature=0.0, n_group=2), EOT)
    first = np.array([[0, 0, 5, 0], [0, 0, 0, 5]], np.float32)
    search.advance(first, np.array([6.0, 7.0], np.float32))
    assert not search.is_complete
    second = np.array([[0, 0, 0, 5], [5, 0, 0, 0]], np.float32)
    search.advance(second, np.array([8.0, 9.0], np.float32))
    assert search.is_complete
    going, ended = search.candidates()
    assert (going.tokens, ended.tokens) == ((2,), ())
    np.testing.assert_allclose(going.sum_logprob, (5 - 6) + (5 - 8), rtol=1e-6)
    np.testing.assert_allclose(ended.sum_logprob, 5 - 7, rtol=1e-6)
