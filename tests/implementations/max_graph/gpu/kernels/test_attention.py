"""whisper_gpu_attention beside NumPy: on the tensor cores in half precision, or not."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import attention
from tests.support.gpu_cases import WHISPER_HEADS, Heads, expected_attention
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

pytestmark = [pytest.mark.gpu, needs_max_gpu, pytest.mark.usefixtures("gpu_kernels")]

CASES = [*WHISPER_HEADS, Heads(F32, 2, 32), Heads(F16, 2, 32), Heads(F32, 1, 8)]


def graph(heads: Heads) -> OneOp:
    def build(qkv: TensorValue) -> TensorValue:
        return attention(qkv, heads.head_dim)

    return OneOp((tensor(heads.dtype, "n_batch", "n_ctx", 3 * heads.n_state),), build)


OPS = GpuOps(**{str(heads): graph(heads) for heads in CASES})


def check(heads: Heads, n_batch: int, n_ctx: int, scale: float = 1.0) -> None:
    dtype, n_state = heads.dtype, heads.n_state
    qkv = normal(n_batch, n_ctx, 3 * n_state)
    qkv[..., : 2 * n_state] *= scale
    (found,) = OPS.run(str(heads), qkv)
    qkv = rounded(qkv, dtype)
    expected = []
    for window in qkv:
        q, k, v = np.split(window, 3, axis=-1)
        expected.append(expected_attention(heads, q, k, v))
    assert_rows_close(found, np.stack(expected), dtype)


@pytest.mark.parametrize("heads", CASES, ids=str)
@pytest.mark.parametrize("n_ctx", [1, 3, 7, 8, 9, 33, 63, 64, 65, 129])
@pytest.mark.parametrize("n_batch", [1, 3])
def test_attention(heads: Heads, n_batch: int, n_ctx: int) -> None:
    check(heads, n_batch, n_ctx)


@pytest.mark.parametrize("heads", WHISPER_HEADS, ids=str)
def test_a_whole_window(heads: Heads) -> None:
    check(heads, 1, 1500)


@pytest.mark.parametrize("heads", [Heads(F16, 6), Heads(BF16, 6), Heads(F32, 6)], ids=str)
def test_many_blocks_do_not_split_keys(heads: Heads) -> None:
    check(heads, 15, 385)


@pytest.mark.parametrize("heads", [Heads(F16, 6), Heads(F32, 6)], ids=str)
def test_scores_that_leave_one_key_all_weight(heads: Heads) -> None:
    """Scores of hundreds: exponentials must be taken from their maximum."""
    check(heads, 2, 130, scale=6.0)
