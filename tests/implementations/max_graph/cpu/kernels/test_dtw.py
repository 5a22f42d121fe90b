"""The operation `whisper_cpu_dtw` against numpy's paths, equal to the cell."""

import numpy as np
import pytest

from implementations.alignment import warp
from tests.support import cpu_kernels
from tests.support.path_costs import KINDS, path_costs

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

SHAPES = [(1, 1), (1, 5), (2, 3), (5, 1), (7, 7), (16, 15), (16, 16), (16, 17), (30, 100)]
SHAPES += [(40, 1500), (225, 300), (447, 1500)]
"""Lines and positions: the smallest, about a vector, a window, and the longest text."""


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_path_is_equal_to_the_cell(kind: str, shape: tuple[int, int]) -> None:
    n_lines, n_positions = shape
    matrix = np.full((n_lines, n_positions + 5), np.nan, np.float32)  # what is not read
    matrix[:, :n_positions] = path_costs(kind, *shape)
    text = np.array([1, n_lines + 2, n_positions, -1], np.int32)
    (positions,) = cpu_kernels.run("dtw", matrix, text)
    np.testing.assert_array_equal(positions, warp(-matrix[:, :n_positions]))
