"""The encoder's attention with the dense layer and the residual after it, against numpy."""

import numpy as np
import pytest

from tests.support import cpu_kernels
from tests.support.kernel_reference import (
    TOLERANCE,
    assert_near,
    nearest_bfloat16,
    packed,
    packed_keys,
    packed_values,
    random,
)
from tests.support.layers import attention, heads_of

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
@pytest.mark.parametrize(
    ("n_batch", "n_ctx", "n_state", "n_head"),
    [
        (1, 1, 384, 6),
        (2, 3, 512, 8),
        (1, 7, 768, 12),
        (1, 33, 1024, 16),
        (1, 97, 1280, 20),
        (2, 129, 384, 6),
        (1, 300, 128, 1),
    ],
)
def test_every_width(dtype: str, n_batch: int, n_ctx: int, n_state: int, n_head: int) -> None:
    """Up to more rows than a block, and more keys than are taken at a time, 128."""
    qkv = [random(i, n_batch, n_ctx, n_state) for i in range(3)]
    assert_attends(dtype, qkv, n_head)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("n_ctx", "n_head"), [(33, 2), (130, 4)])
def test_heads_that_fill_no_panel(dtype: str, n_ctx: int, n_head: int) -> None:
    qkv = [random(i, 2, n_ctx, 80) for i in range(3)]
    assert_attends(dtype, qkv, n_head)


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
def test_equal_keys_give_the_mean_of_all_values(dtype: str) -> None:
    q, k, v = (random(i, 1, 131, 384) for i in range(3))
    assert_attends(dtype, [q, np.repeat(k[:, :1], 131, axis=1), v], 6)


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
@pytest.mark.parametrize("at", [0, 127, 128, 140])
def test_one_key_outweighs_all_others(dtype: str, at: int) -> None:
    """Its score is some hundred higher, so that all other weights are zero in float32."""
    q = np.ones((1, 141, 384), np.float32)
    k = random(1, 1, 141, 384, scale=0.1)
    k[:, at] = 20
    assert_attends(dtype, [q, k, random(2, 1, 141, 384)], 6)


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
def test_scores_that_grow_and_shrink_from_key_to_key(dtype: str) -> None:
    """The highest score so far changes with every 128 keys, and for some rows never again."""
    q, k, v = (random(i, 1, 400, 128) for i in range(3))
    k *= np.linspace(-3, 3, 400, dtype=np.float32)[:, None]
    assert_attends(dtype, [q, k, v], 2)


def assert_attends(dtype: str, qkv: list[np.ndarray], n_head: int) -> None:
    if dtype == "bfloat16":
        qkv = [qkv[0], *map(nearest_bfloat16, qkv[1:])]
    q, k, v = (heads_of(x.astype(np.float64), n_head) for x in qkv)
    x = random(7, *qkv[0].shape)
    n_state = x.shape[2]
    out, bias = packed(random(8, n_state, n_state, scale=0.1), dtype), random(9, n_state)
    expected = x + attention(q, k, v) @ out.matrix.T + bias
    kv_dtype = "bfloat16" if dtype == "bfloat16" else "float32"
    keys, values = packed_keys(k, kv_dtype), packed_values(v, kv_dtype)
    operands = [qkv[0], keys, values, x, *out.operands, bias]
    (found,) = cpu_kernels.run(f"attention_{dtype}", *operands)
    assert_near(found, expected, TOLERANCE[dtype])
