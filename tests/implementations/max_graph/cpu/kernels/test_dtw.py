"""The operation `whisper_cpu_dtw` against numpy's paths, equal to the cell."""

import numpy as np
import pytest

from implementations.alignment import warp
from tests.support import cpu_kernels

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

SHAPES = [(1, 1), (1, 5), (2, 3), (5, 1), (7, 7), (16, 15), (16, 16), (16, 17), (30, 100)]
SHAPES += [(40, 1500), (225, 300), (447, 1500)]
"""Lines and positions: the smallest, about a vector, a window, and the longest text."""


def costs(kind: str, shape: tuple[int, int]) -> np.ndarray:
    values = np.random.default_rng(7).standard_normal(shape, np.float32)
    small = values / 1000
    small[..., 0, 0] = -10000  # float32 sums of the rest would hold no difference
    changed: dict[str, np.ndarray] = {
        "small after large": small,
        "noise": values,
        "many ties": np.round(values),
        "all equal": np.zeros_like(values),
        "smooth": np.cumsum(values, axis=1) / 100,
    }
    return changed[kind].astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["noise", "many ties", "all equal", "smooth", "small after large"])
def test_path_is_equal_to_the_cell(kind: str, shape: tuple[int, int]) -> None:
    n_lines, n_positions = shape
    matrix = np.full((n_lines, n_positions + 5), np.nan, np.float32)  # what is not read
    matrix[:, :n_positions] = costs(kind, shape)
    text = np.array([1, n_lines + 2, n_positions, -1], np.int32)
    (positions,) = cpu_kernels.run("dtw", matrix, text)
    np.testing.assert_array_equal(positions, warp(-matrix[:, :n_positions]))
