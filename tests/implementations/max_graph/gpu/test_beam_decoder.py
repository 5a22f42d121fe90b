"""Back pointers of the device traced to hypotheses: the same as those of the host's search."""

import numpy as np
import pytest

from implementations.decoding.beam import BeamSearch
from implementations.request import Search

pytest.importorskip("max.driver", reason="MAX is not installed: maxwhisper[max]")

hypotheses = pytest.importorskip("implementations.max_graph.gpu.beam_decoder").hypotheses

EOT, N_VOCAB, GOES_ON = 9, 40, 1.0


@pytest.mark.parametrize("patience", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("n_beams", [1, 2, 5, 7])
@pytest.mark.parametrize("n_steps", [1, 2, 30])
def test_back_pointers_give_the_hypotheses_of_the_search(
    n_steps: int, n_beams: int, patience: float
) -> None:
    random = np.random.default_rng(n_beams)
    search = BeamSearch(Search(n_group=n_beams, is_beam_search=True, patience=patience), EOT)
    back_pointers = np.zeros((n_steps, n_beams, 3), np.int32)
    scores = np.full((n_steps, n_beams), GOES_ON, np.float32)
    n_taken = 0
    while n_taken < n_steps and not (n_taken and search.is_complete):
        before, known = [tuple(tokens) for tokens in search.sampled], dict(search._finished)
        logits = random.standard_normal((n_beams, N_VOCAB)).astype(np.float32)
        logits[:, EOT] = 2 if n_taken else -9
        logits = np.repeat(logits[:1], n_beams, 0) if n_taken == 0 else logits
        sources = search.advance(logits, np.log(np.exp(logits).sum(axis=1)))
        back_pointers[n_taken, :, 0] = [tokens[-1] for tokens in search.sampled]
        back_pointers[n_taken, :, 1] = sources
        for text, score in search._finished.items():
            if text not in known:
                scores[n_taken, before.index(text)] = score
        n_taken += 1
    back_pointers[..., 2] = scores.view(np.int32)
    expected = search.candidates()
    assert len(expected) >= n_beams
    assert hypotheses(back_pointers[:n_taken], search._sum_logprobs) == expected
