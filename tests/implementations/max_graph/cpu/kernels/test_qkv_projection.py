"""Queries, keys and values of all rows after layer norm, against numpy."""

import numpy as np
import pytest

from tests.support import cpu_kernels
from tests.support.kernel_reference import (
    TOLERANCE,
    assert_near,
    keys_of,
    packed,
    random,
    values_of,
)
from tests.support.layers import heads_of, layer_norm

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

SHAPES = [
    (1, 1, 384, 6),
    (3, 3, 512, 8),
    (1, 7, 768, 12),
    (2, 33, 1024, 16),
    (1, 97, 1280, 20),
    (2, 193, 384, 6),
]
"""n_batch, n_ctx, n_state, n_head: one row, less than a tile, one past a panel, a block, two."""
ODD_SHAPES = [(2, 33, 80, 2), (1, 13, 80, 4)]
"""Heads of 40 and 20 columns, which share panels of the product; bfloat16 wants whole panels."""


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_width(dtype: str, shape: tuple[int, int, int, int]) -> None:
    assert_projects(dtype, *shape)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_heads_that_fill_no_panel(dtype: str, shape: tuple[int, int, int, int]) -> None:
    assert_projects(dtype, *shape)


def assert_projects(dtype: str, n_batch: int, n_ctx: int, n_state: int, n_head: int) -> None:
    x = random(1, n_batch, n_ctx, n_state)
    norm = [random(2, n_state), random(3, n_state)]
    qkv = packed(random(4, 3 * n_state, n_state, scale=0.05), dtype)
    bias = random(5, 3 * n_state)
    heads = np.zeros(n_head, np.int32)
    operands = [*norm, *qkv.operands, bias, heads]
    queries, keys, values = cpu_kernels.run(f"qkv_projection_{dtype}", x, *operands)
    q, k, v = np.split(layer_norm(x, *norm) @ qkv.matrix.T + bias, 3, axis=-1)
    in_pairs = dtype == "bfloat16"
    assert_near(queries, q, TOLERANCE[dtype])
    found = keys_of(keys, n_ctx, in_pairs=in_pairs)
    assert_near(found, heads_of(k, n_head), TOLERANCE[dtype])
    found = values_of(values, n_ctx, n_state // n_head, in_pairs=in_pairs)
    assert_near(found, heads_of(v, n_head), TOLERANCE[dtype])
    if in_pairs:  # AMX multiplies what lies behind the last position too
        assert not keys_of(keys, keys.shape[2] * 32, in_pairs=True)[:, :, n_ctx:].any()
        assert not values_of(values, values.shape[2], 1, in_pairs=True)[:, :, n_ctx:].any()
