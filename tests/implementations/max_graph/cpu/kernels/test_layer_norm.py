"""The operation `whisper_cpu_layer_norm` against numpy."""

import numpy as np
import pytest

from tests.support import cpu_kernels
from tests.support.kernel_reference import TOLERANCE, assert_near, random
from tests.support.layers import layer_norm

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

LARGE_MEAN_TOLERANCE = 2e-4
"""Float32 keeps a hundredth of the numbers' spread to 1e-4 where their mean is a thousand."""


def normalised(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    (y,) = cpu_kernels.run("layer_norm", x, weight, bias)
    return y


@pytest.mark.parametrize("n_state", [1, 15, 80, 384, 512, 768, 1024, 1280])
@pytest.mark.parametrize("rows", [(1, 1), (1, 3), (7, 1), (1, 33), (3, 65)])
def test_rows_of_every_width(n_state: int, rows: tuple[int, int]) -> None:
    x = random(1, *rows, n_state, scale=3) + random(2, *rows, 1)
    weight, bias = random(3, n_state), random(4, n_state)
    expected = layer_norm(x, weight, bias)
    assert_near(normalised(x, weight, bias), expected, TOLERANCE["float32"])


def test_a_row_of_equal_numbers_becomes_the_bias() -> None:
    weight, bias = random(1, 384), random(2, 384)
    y = normalised(np.full((1, 2, 384), 7.0, np.float32), weight, bias)
    np.testing.assert_array_equal(y, np.broadcast_to(bias, (1, 2, 384)))


def test_numbers_far_below_epsilon() -> None:
    x, weight, bias = random(1, 1, 3, 512, scale=1e-3), np.ones(512, np.float32), random(2, 512)
    expected = layer_norm(x, weight, bias)
    assert_near(normalised(x, weight, bias), expected, TOLERANCE["float32"])


def test_numbers_far_from_zero() -> None:
    x, weight, bias = random(1, 1, 3, 1280) + 1000, random(2, 1280), random(3, 1280)
    expected = layer_norm(x, weight, bias)
    assert_near(normalised(x, weight, bias), expected, LARGE_MEAN_TOLERANCE)
