"""Keys and values of the audio for cross-attention, without layer norm, against numpy."""

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
from tests.support.layers import heads_of

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
@pytest.mark.parametrize(
    ("n_batch", "n_ctx", "n_in", "n_state", "n_head"),
    [
        (1, 1, 384, 384, 6),
        (2, 3, 384, 512, 8),
        (1, 7, 80, 768, 12),
        (3, 33, 1024, 1024, 16),
        (1, 97, 1280, 1280, 20),
        (1, 193, 512, 384, 6),
    ],
)
def test_every_width(
    dtype: str, n_batch: int, n_ctx: int, n_in: int, n_state: int, n_head: int
) -> None:
    assert_projects(dtype, (n_batch, n_ctx, n_in), n_state, n_head)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n_head", [2, 4])
def test_heads_that_fill_no_panel(dtype: str, n_head: int) -> None:
    assert_projects(dtype, (2, 50, 80), 80, n_head)


@pytest.mark.parametrize("dtype", [cpu_kernels.BFLOAT16])
def test_heads_of_bfloat16_that_fill_no_tile_are_refused(dtype: str) -> None:
    with pytest.raises(Exception, match="heads of bfloat16 are whole multiples of 32 channels"):
        assert_projects(dtype, (2, 50, 80), 80, 2)


def assert_projects(dtype: str, shape: tuple[int, int, int], n_state: int, n_head: int) -> None:
    _, n_ctx, n_in = shape
    x, bias = random(1, *shape), random(2, 2 * n_state)
    kv = packed(random(3, 2 * n_state, n_in, scale=0.05), dtype)
    heads = np.zeros(n_head, np.int32)
    operands = [*kv.operands, bias, heads]
    keys, values = cpu_kernels.run(f"kv_projection_{dtype}", x, *operands)
    k, v = np.split(x.astype(np.float64) @ kv.matrix.T + bias, 2, axis=-1)
    in_pairs = dtype == "bfloat16"
    found = keys_of(keys, n_ctx, in_pairs=in_pairs)
    assert_near(found, heads_of(k, n_head), TOLERANCE[dtype])
    found = values_of(values, n_ctx, n_state // n_head, in_pairs=in_pairs)
    assert_near(found, heads_of(v, n_head), TOLERANCE[dtype])
