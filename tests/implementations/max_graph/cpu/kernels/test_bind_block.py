"""The operation that writes where a block's weights, caches and audio lie."""

import numpy as np
import pytest

from tests.support import cpu_kernels

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

N_STATE, PANEL = 32, 32


def test_a_block_has_its_own_line_of_the_table() -> None:
    from max.driver import Buffer

    table = np.full((2, 28), -1, np.int64)
    caches = [np.zeros((1, 4, 3, 8, PANEL), np.float32), np.zeros((1, 4, 70, PANEL), np.float32)]
    vector, matrix = np.zeros(N_STATE, np.float32), np.zeros((1, N_STATE, PANEL), np.float32)
    norm, dense = [vector, vector], [matrix, vector, vector]
    block = [*norm, *dense, *dense, *norm, *dense, *dense, *norm, *dense, *dense]
    weights = [array.copy() for array in block]
    audio = [np.zeros((1, 4, 2, 8, PANEL), np.float32), np.zeros((1, 4, 50, PANEL), np.float32)]
    written: list[np.ndarray] = [table, *caches]
    buffers = [Buffer.from_numpy(array) for array in written]
    cpu_kernels.run("bind_block", *buffers, *weights, *audio)
    expected = [array.ctypes.data for array in (*weights, *caches, *audio)]
    np.testing.assert_array_equal(table[1], expected)
    np.testing.assert_array_equal(table[0], -1)
