"""whisper_gpu_dtw beside NumPy's paths, which are upstream's cell by cell: equal to the cell."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.alignment import warp
from implementations.max_graph.gpu.graphs.alignment_ops import dtw
from implementations.max_graph.graphs.aligned_text import N_TEXT_FIELDS
from tests.support.gpu_ops import F32, I32, Array, GpuOps, OneOp, tensor
from tests.support.hardware import needs_max_gpu
from tests.support.path_costs import KINDS, path_costs

pytestmark = [pytest.mark.gpu, needs_max_gpu, pytest.mark.usefixtures("gpu_kernels")]

OPS = GpuOps(
    dtw=OneOp(
        (tensor(F32, "n_rows", "n_new", "n_audio_ctx"), tensor(I32, "n_rows", N_TEXT_FIELDS)), dtw
    )
)
TEXTS = {
    "smallest": (4, 16, [(1, 4, 1), (1, 3, 1), (2, 4, 1), (1, 4, 16), (1, 3, 2)]),
    "short": (
        33,
        70,
        [(1, 33, 70), (1, 33, 3), (3, 12, 15), (3, 12, 16), (3, 12, 17), (1, 32, 32)],
    ),
    "window": (130, 1500, [(1, 130, 1500), (3, 90, 1499), (1, 40, 31), (3, 129, 30)]),
    "longest": (448, 1500, [(3, 448, 1500), (1, 448, 1488)]),
}
"""Tokens and positions of the widest row, and each row's text."""


def described(texts: list[tuple[int, int, int]]) -> Array:
    """Fields of texts: first tokens, all tokens, positions, and an end of text that is not read."""
    return np.array([(*text, -1) for text in texts])


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("kind", KINDS)
def test_paths_are_equal(kind: str, name: str) -> None:
    n_new, n_audio_ctx, texts = TEXTS[name]
    matrix = path_costs(kind, len(texts), n_new, n_audio_ctx)
    for row, (n_sot, n_tokens, n_positions) in enumerate(texts):
        matrix[row, n_tokens - 1 - n_sot :] = np.nan  # what no text has is not read
        matrix[row, :, n_positions:] = np.nan
    (positions,) = OPS.run("dtw", matrix, described(texts))
    for row, (n_sot, n_tokens, n_positions) in enumerate(texts):
        n_lines = n_tokens - 1 - n_sot
        expected = warp(-matrix[row, :n_lines, :n_positions])
        np.testing.assert_array_equal(positions[row, :n_lines], expected)


@pytest.mark.parametrize("n_rows", [7, 140])
def test_many_rows(n_rows: int) -> None:
    """Fewer rows than a GPU has multiprocessors, and more."""
    matrix = path_costs("smooth", n_rows, 60, 400)
    (positions,) = OPS.run("dtw", matrix, described([(1, 60, 400)] * n_rows))
    for row in range(n_rows):
        np.testing.assert_array_equal(positions[row, :58], warp(-matrix[row, :58]))
