"""Word timing in numpy against that of openai-whisper: matrix, median filter and warping."""

import numpy as np
import pytest
import torch
from whisper import timing

from implementations.alignment import alignment_matrix, median_filter, warp
from tests.support.path_costs import KINDS, path_costs

SHAPES = [(1, 1), (1, 5), (2, 3), (5, 1), (7, 7), (40, 1500), (224, 300), (100, 30)]
"""Tokens and positions: the smallest, more of either, and a whole window."""


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_path_is_upstreams_cell_by_cell(kind: str, shape: tuple[int, int]) -> None:
    values = path_costs(kind, *shape)
    rows, columns = timing.dtw_cpu(values.astype(np.float64))
    entered = columns[np.pad(np.diff(rows), (1, 0), constant_values=1).astype(bool)]
    np.testing.assert_array_equal(warp(values), entered)


def test_upstreams_path_through_a_single_position_leaves_it() -> None:
    """`WordTimer.words` moves such words, which all implementations place at the position."""
    scores = np.random.default_rng(0).standard_normal((6, 5, 1), np.float32)
    matrix = alignment_matrix(scores)
    assert np.isnan(matrix).all()
    rows, columns = timing.dtw_cpu(-matrix.astype(np.float64))
    entered = columns[np.pad(np.diff(rows), (1, 0), constant_values=1).astype(bool)]
    assert entered.tolist() == [-1] * 5
    assert warp(-matrix).tolist() == [0] * 5


@pytest.mark.parametrize("n_positions", [1, 3, 4, 5, 7, 8, 33, 1500])
def test_median_filter_is_upstreams(n_positions: int) -> None:
    values = np.random.default_rng(n_positions).standard_normal((2, 5, n_positions), np.float32)
    theirs = timing.median_filter(torch.from_numpy(values), 7).numpy()
    np.testing.assert_array_equal(median_filter(values), theirs)


def test_matrix_is_upstreams() -> None:
    scores = np.random.default_rng(1).standard_normal((6, 40, 700), np.float32) * 4
    weights = torch.from_numpy(scores).softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    theirs = timing.median_filter((weights - mean) / std, 7).mean(dim=0).numpy()
    # Standard scores are of size 1; sums of 40 and 700 float32 differ by their order.
    np.testing.assert_allclose(alignment_matrix(scores), theirs, atol=2e-5)
