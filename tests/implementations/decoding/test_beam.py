"""Beam search: which continuations it looks at, against sorting the whole vocabulary."""

import numpy as np
import pytest

from implementations.decoding.beam import BeamSearch
from implementations.request import Search

EOT = 3


@pytest.mark.parametrize("n_vocab", [51864, 51865, 1003, 7])
def test_beams_continue_with_the_top_k_tokens(n_vocab: int) -> None:
    generator = np.random.default_rng(n_vocab)
    for _ in range(20):
        logits = np.repeat(generator.normal(0, 4, (1, n_vocab)).astype(np.float32), 3, axis=0)
        logits[:, generator.integers(0, n_vocab, n_vocab // 3)] = -np.inf
        logits[:, EOT] = -50
        search = BeamSearch(Search(n_group=3, is_beam_search=True), EOT)
        sources = search.advance(logits, np.zeros(3, np.float32))
        best = np.argsort(-logits[0], kind="stable")[:3]
        assert search.sampled == [[token] for token in best]
        assert len(sources) == 3


def test_equal_tokens_come_in_the_order_of_the_vocabulary() -> None:
    logits = np.zeros((2, 500), np.float32)
    logits[:, [400, 7, 201]] = 5
    search = BeamSearch(Search(n_group=2, is_beam_search=True), EOT)
    search.advance(logits, np.zeros(2, np.float32))
    assert search.sampled == [[7], [201]]


def test_scores_are_sums_of_log_probabilities() -> None:
    search = BeamSearch(Search(n_group=2, is_beam_search=True), EOT)
    logits = np.array([[1, 2, 0, 9], [1, 2, 0, 9]], np.float32)
    search.advance(logits, np.array([10, 10], np.float32))
    search.advance(logits - 1, np.array([10, 10], np.float32))
    scores = {candidate.tokens: candidate.sum_logprob for candidate in search.candidates()}
    assert scores == {(): -1, (1,): -8 - 2}
