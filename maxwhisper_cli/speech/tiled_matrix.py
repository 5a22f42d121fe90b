"""Matrix products in tiles that OpenBLAS computes in the calling thread.

OpenBLAS divides larger products among threads, which then spin for some 20 ms in case another one
follows. Beside other work that takes longer than the products themselves, and burns what the others
need. One thread on tiles is as fast as on the whole with AVX-512, and half as fast with AVX2.
"""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

N_ROWS = 8
"""Rows of a tile."""
_MAX_TILE = 2**18
"""Largest number of multiplications that OpenBLAS leaves in one thread."""


class TiledMatrix:
    """Right side of products, `[n_in, n_out]`, cut into columns that make small tiles."""

    def __init__(self, matrix: npt.NDArray[np.floating]) -> None:
        n_in, n_out = matrix.shape
        fitting = (n for n in range(n_out, 0, -1) if n_out % n == 0)
        n_columns = next((n for n in fitting if N_ROWS * n_in * n <= _MAX_TILE), 1)
        tiles = matrix.reshape(n_in, -1, n_columns).transpose(1, 0, 2)
        self._tiles = np.ascontiguousarray(tiles, np.float32)
        self._n_out = n_out

    def multiplied_from_left(self, rows: Float32) -> Float32:
        """[n_rows, n_in] -> [n_rows, n_out]; n_rows is a multiple of 8."""
        n_tiles, n_in, n_columns = self._tiles.shape
        product = np.empty((len(rows), self._n_out), np.float32)
        tiles = product.reshape(-1, N_ROWS, n_tiles, n_columns).transpose(0, 2, 1, 3)
        np.matmul(rows.reshape(-1, 1, N_ROWS, n_in), self._tiles, out=tiles)
        return product
