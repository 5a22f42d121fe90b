"""Layer norm, two dense layers with GELU between them, and the residual, against numpy."""

import numpy as np
import pytest

from tests.support import cpu_kernels
from tests.support.kernel_reference import TOLERANCE, assert_near, packed, random
from tests.support.layers import gelu, layer_norm

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
@pytest.mark.parametrize(
    ("n_batch", "n_ctx", "n_state"),
    [
        (1, 1, 384),
        (1, 3, 512),
        (7, 1, 768),
        (1, 13, 1280),
        (2, 33, 80),
        (1, 33, 1024),
        (1, 97, 384),
        (2, 193, 48),
    ],
)
def test_every_width(dtype: str, n_batch: int, n_ctx: int, n_state: int) -> None:
    """The hidden layer of 80 and 48 columns is less than the 512 that are made at a time."""
    x = random(1, n_batch, n_ctx, n_state)
    norm = [random(2, n_state), random(3, n_state)]
    fc1 = packed(random(4, 4 * n_state, n_state, scale=0.1), dtype)
    fc2 = packed(random(5, n_state, 4 * n_state, scale=0.05), dtype)
    bias, fc2_bias = random(6, 4 * n_state), random(7, n_state)
    hidden = gelu(layer_norm(x, *norm) @ fc1.matrix.T + bias)
    expected = x + hidden @ fc2.matrix.T + fc2_bias
    operands = [*norm, *fc1.operands, bias, *fc2.operands, fc2_bias]
    (found,) = cpu_kernels.run(f"mlp_{dtype}", x, *operands)
    assert_near(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
@pytest.mark.parametrize("level", [-30.0, -6.0, -0.7, 0.0, 0.7, 6.0, 30.0])
def test_gelu_far_out_and_near_zero(dtype: str, level: float) -> None:
    """Matrices of zeros leave the first bias as what GELU is given, and its mean as the result."""
    n_state = 64
    bias = level + np.linspace(-0.5, 0.5, 4 * n_state, dtype=np.float32)
    fc1 = packed(np.zeros((4 * n_state, n_state), np.float32), dtype)
    fc2 = packed(np.full((n_state, 4 * n_state), 2**-8, np.float32), dtype)
    zeros, ones = np.zeros(n_state, np.float32), np.ones(n_state, np.float32)
    x = np.zeros((1, 3, n_state), np.float32)
    operands = [ones, zeros, *fc1.operands, bias, *fc2.operands, zeros]
    (found,) = cpu_kernels.run(f"mlp_{dtype}", x, *operands)
    expected = gelu(bias.astype(np.float64)).mean()
    tolerance = TOLERANCE[dtype] * max(1.0, abs(level))
    np.testing.assert_allclose(found, np.full(x.shape, expected), rtol=0, atol=tolerance)
