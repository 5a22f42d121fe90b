"""Word timing on PyTorch against openai-whisper's: equal numbers, not only near ones."""

import numpy as np
import pytest
import torch
from whisper import timing

from implementations.alignment import AlignmentRequest
from implementations.alignment import align_text as align_in_numpy
from implementations.session import Alignment
from implementations.torch_alignment import align_text, alignment_matrix, median_filter


@pytest.mark.parametrize("n_positions", [1, 3, 4, 5, 7, 8, 33, 1500])
def test_median_filter_is_upstreams(n_positions: int) -> None:
    values = torch.randn((2, 5, n_positions), generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(median_filter(values), timing.median_filter(values, 7))


@pytest.mark.parametrize("shape", [(6, 40, 700), (2, 3, 1500), (8, 130, 33), (1, 448, 5)])
def test_matrix_is_upstreams(shape: tuple[int, int, int]) -> None:
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 4
    weights = scores.softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    expected = timing.median_filter((weights - mean) / std, 7).mean(dim=0)
    np.testing.assert_array_equal(alignment_matrix(scores), expected)


@pytest.mark.parametrize("n_text", [1, 36])
def test_text_is_aligned_as_in_numpy(n_text: int) -> None:
    n_tokens, eot = n_text + 3, 90
    random = np.random.default_rng(n_text)
    scores = random.standard_normal((3, n_tokens, 300), np.float32) * 4
    logits = random.standard_normal((n_tokens, 100), np.float32) * 4
    text = tuple(random.integers(0, eot, n_text).tolist())
    request = AlignmentRequest((91,), 92, text, eot, 170, ((0, 0),))
    expected = align_in_numpy(Alignment(scores, logits), request)
    found = align_text(torch.from_numpy(scores), torch.from_numpy(logits[1:-2]), request)
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-5)
