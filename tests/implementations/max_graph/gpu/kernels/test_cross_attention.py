"""whisper_gpu_cross_attention beside NumPy: keys split among blocks or not, and few of them."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import cross_attention
from tests.support import layers
from tests.support.gpu_ops import (
    BF16,
    F16,
    F32,
    I32,
    GpuOps,
    OneOp,
    assert_rows_close,
    normal,
    rounded,
    tensor,
)
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

N_LAYER, LAYER = 2, 1
CASES = [
    *((F16, n_head, 64) for n_head in (6, 8, 12, 16, 20)),
    *((BF16, n_head, 64) for n_head in (6, 20)),
    *((F32, n_head, 64) for n_head in (6, 20)),
    (F32, 2, 32),
]
"""Dtype, heads, and a head's width."""
Case = tuple[DType, int, int]


def name_of(case: Case) -> str:
    dtype, n_head, head_dim = case
    return f"{dtype.name}_{n_head}_{head_dim}"


def graph(case: Case) -> OneOp:
    dtype, n_head, head_dim = case
    n_state = n_head * head_dim

    def build(q: TensorValue, audio: TensorValue, windows: TensorValue) -> TensorValue:
        return cross_attention(q, audio, windows, LAYER, head_dim)

    inputs = (
        tensor(dtype, "n_rows", "n_new", n_state),
        tensor(dtype, "n_windows", "n_audio_ctx", N_LAYER * 2 * n_state),
        tensor(I32, "n_rows"),
    )
    return OneOp(inputs, build)


OPS = GpuOps(**{name_of(case): graph(case) for case in CASES})


def check(case: Case, windows: list[int], n_new: int, n_audio_ctx: int) -> None:
    dtype, n_head, head_dim = case
    n_state = n_head * head_dim
    q = normal(len(windows), n_new, n_state)
    audio = normal(max(windows) + 2, n_audio_ctx, N_LAYER * 2 * n_state, seed=1)
    (found,) = OPS.run(name_of(case), q, audio, np.array(windows))
    q, audio = rounded(q, dtype), rounded(audio, dtype)
    k, v = np.split(audio[..., 2 * LAYER * n_state :], 2, axis=-1)
    expected = [
        layers.attention(row, k[window], v[window], n_head)
        for row, window in zip(q, windows, strict=True)
    ]
    assert_rows_close(found, np.stack(expected), dtype)


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize("n_audio_ctx", [1, 3, 33, 65, 1500])
@pytest.mark.parametrize("n_new", [1, 3, 7, 8, 9])
def test_cross_attention(case: Case, n_new: int, n_audio_ctx: int) -> None:
    check(case, [0], n_new, n_audio_ctx)


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize(
    "windows", [[1, 0, 2], [0] * 5, [2, 2, 0, 0, 1, 1, 3, 3, 0], [*range(8)] * 8]
)
def test_rows_listen_to_windows_of_their_own(case: Case, windows: list[int]) -> None:
    check(case, windows, 1, 130)
    check(case, windows, 9, 33)
