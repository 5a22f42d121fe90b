"""whisper_gpu_attention beside NumPy: on the tensor cores in half precision, or not."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import attention
from tests.support import layers
from tests.support.gpu_ops import (
    BF16,
    F16,
    F32,
    GpuOps,
    OneOp,
    assert_rows_close,
    normal,
    rounded,
    tensor,
)
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

CASES = [
    *((F16, n_head, 64) for n_head in (6, 8, 12, 16, 20)),
    *((BF16, n_head, 64) for n_head in (6, 20)),
    *((F32, n_head, 64) for n_head in (6, 20)),
    *((dtype, 2, 32) for dtype in (F32, F16)),
    (F32, 1, 8),
]
"""Dtype, heads, and a head's width; Whisper has 64 only."""
Case = tuple[DType, int, int]


def name_of(case: Case) -> str:
    dtype, n_head, head_dim = case
    return f"{dtype.name}_{n_head}_{head_dim}"


def graph(case: Case) -> OneOp:
    dtype, n_head, head_dim = case

    def build(qkv: TensorValue) -> TensorValue:
        return attention(qkv, head_dim)

    return OneOp((tensor(dtype, "n_batch", "n_ctx", 3 * n_head * head_dim),), build)


OPS = GpuOps(**{name_of(case): graph(case) for case in CASES})


def check(case: Case, n_batch: int, n_ctx: int, scale: float = 1.0) -> None:
    dtype, n_head, head_dim = case
    n_state = n_head * head_dim
    qkv = normal(n_batch, n_ctx, 3 * n_state)
    qkv[..., : 2 * n_state] *= scale
    (found,) = OPS.run(name_of(case), qkv)
    qkv = rounded(qkv, dtype)
    expected = []
    for window in qkv:
        q, k, v = np.split(window, 3, axis=-1)
        expected.append(layers.attention(q, k, v, n_head))
    assert_rows_close(found, np.stack(expected), dtype)


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize("n_ctx", [1, 3, 7, 8, 9, 33, 63, 64, 65, 129])
@pytest.mark.parametrize("n_batch", [1, 3])
def test_attention(case: Case, n_batch: int, n_ctx: int) -> None:
    check(case, n_batch, n_ctx)


@pytest.mark.parametrize("case", [case for case in CASES if case[2] == 64], ids=name_of)
def test_a_whole_window(case: Case) -> None:
    check(case, 1, 1500)


@pytest.mark.parametrize("case", [(F16, 6, 64), (BF16, 6, 64), (F32, 6, 64)], ids=name_of)
def test_many_blocks_do_not_split_keys(case: Case) -> None:
    check(case, 15, 385)


@pytest.mark.parametrize("case", [(F16, 6, 64), (F32, 6, 64)], ids=name_of)
def test_scores_that_leave_one_key_all_weight(case: Case) -> None:
    """Scores of hundreds: exponentials must be taken from their maximum."""
    check(case, 2, 130, scale=6.0)
