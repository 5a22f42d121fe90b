"""whisper_gpu_alignment_matrix beside NumPy: rows of different texts, tokens and positions."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.alignment import alignment_matrix as expected_matrix
from implementations.max_graph.gpu.graphs.alignment_ops import alignment_matrix
from implementations.max_graph.graphs.aligned_text import N_TEXT_FIELDS
from tests.support.gpu_ops import F32, I32, GpuOps, OneOp, mutable, normal, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

TOLERANCE = 1e-4
"""Absolute, for standard scores of size 1: sums of up to 1500 weights and 448 tokens in float32."""
OPS = GpuOps(
    matrix=OneOp(
        (
            mutable(F32, "n_rows", "n_heads", "n_new", "n_audio_ctx"),
            tensor(I32, "n_rows", N_TEXT_FIELDS),
        ),
        alignment_matrix,
    )
)


def described(texts: list[tuple[int, int, int]]) -> np.ndarray:
    """Fields of texts: first tokens, all tokens, positions, and an end of text that is not read."""
    return np.array([(*text, -1) for text in texts])


@pytest.mark.parametrize("n_heads", [1, 2, 8, 31])
@pytest.mark.parametrize(
    ("n_new", "n_audio_ctx", "texts"),
    [
        (4, 1500, [(1, 4, 1500)]),
        (5, 7, [(3, 5, 7), (1, 5, 3), (1, 4, 4), (1, 5, 5), (1, 5, 1)]),
        (33, 300, [(1, 33, 300), (1, 9, 299), (3, 32, 31), (1, 17, 33)]),
        (130, 1500, [(3, 130, 1500), (1, 40, 257)]),
        (448, 1500, [(1, 448, 1499)]),
    ],
)
def test_matrix(
    n_heads: int, n_new: int, n_audio_ctx: int, texts: list[tuple[int, int, int]]
) -> None:
    scores = normal(len(texts), n_heads, n_new, n_audio_ctx, scale=3.0)
    matrix, _ = OPS.run("matrix", scores, described(texts))
    for row, (n_sot, n_tokens, n_positions) in enumerate(texts):
        of_text: Any = scores[row, :, :n_tokens, :n_positions].astype(np.float64)
        expected = expected_matrix(of_text)[n_sot:-1]
        found = matrix[row, : n_tokens - 1 - n_sot, :n_positions]
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_what_lies_beyond_a_text_is_not_read() -> None:
    scores = normal(2, 3, 20, 100, scale=3.0)
    texts = described([(1, 20, 40), (2, 11, 100)])
    (expected, _) = OPS.run("matrix", scores, texts)
    scores[0, :, :, 40:] = np.nan
    scores[1, :, 11:] = np.nan
    (matrix, _) = OPS.run("matrix", scores, texts)
    np.testing.assert_array_equal(matrix[0, :18, :40], expected[0, :18, :40])
    np.testing.assert_array_equal(matrix[1, :8], expected[1, :8])
    assert np.isfinite(matrix[0, :18, :40]).all()
    assert np.isfinite(matrix[1, :8]).all()
