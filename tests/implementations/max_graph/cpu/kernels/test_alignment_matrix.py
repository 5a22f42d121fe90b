"""The operation `whisper_cpu_alignment_matrix` against numpy in float64."""

from typing import Any

import numpy as np
import pytest

from implementations.alignment import alignment_matrix
from tests.support import cpu_kernels
from tests.support.kernel_reference import random

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

TOLERANCE = 5e-5
"""Absolute, for standard scores of size 1: sums of up to 1500 weights and 448 tokens in float32."""


def computed(scores: np.ndarray, n_sot: int, n_positions: int) -> np.ndarray:
    """The matrix of [n_heads, n_tokens, n_audio_ctx] scores, which are overwritten."""
    from max.driver import Buffer

    n_tokens = scores.shape[1]
    text = np.array([n_sot, n_tokens, n_positions, -1], np.int32)
    targets = np.zeros(n_tokens - n_sot - 2, np.int32)
    (matrix,) = cpu_kernels.run("alignment_matrix", Buffer.from_numpy(scores), text, targets)
    return matrix[:, :n_positions]


@pytest.mark.parametrize(
    ("n_tokens", "n_sot", "n_audio_ctx", "n_positions", "n_heads"),
    [
        (*sizes, n_heads)
        for sizes in [
            (4, 1, 1500, 1500),
            *[(5, 3, 9, n) for n in (1, 3, 4, 5, 7, 8)],
            *[(20, 1, 140, n) for n in (15, 16, 17, 127, 128, 129, 131)],
            (100, 3, 1500, 777),
            (448, 1, 1500, 1499),
        ]
        for n_heads in (1, 2, 8, 31)
        if sizes[0] * n_heads <= 3584  # more take numpy seconds
    ],
)
def test_matrix(
    n_tokens: int, n_sot: int, n_audio_ctx: int, n_positions: int, n_heads: int
) -> None:
    scores = random(n_tokens, n_heads, n_tokens, n_audio_ctx, scale=3)
    scores[..., n_positions:] = np.nan  # what is not read
    exact: Any = scores[..., :n_positions].astype(np.float64)
    expected = alignment_matrix(exact)[n_sot:-1]
    found = computed(scores, n_sot, n_positions)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
