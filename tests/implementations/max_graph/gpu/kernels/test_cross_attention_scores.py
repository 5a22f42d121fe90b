"""whisper_gpu_cross_attention_scores beside NumPy: only a layer's chosen heads are filled."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import BufferValue, TensorValue

from implementations.max_graph.gpu.graphs.alignment_ops import store_cross_attention_scores
from tests.support import layers
from tests.support.gpu_ops import (
    BF16,
    F16,
    F32,
    I32,
    GpuOps,
    OneOp,
    assert_rows_close,
    mutable,
    normal,
    rounded,
    tensor,
)
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

N_LAYER, LAYER = 3, 1
CASES = [(F16, 6, 64), (F16, 20, 64), (BF16, 6, 64), (F32, 6, 64), (F32, 2, 32)]
"""Dtype, heads, and a head's width."""
Case = tuple[DType, int, int]


def name_of(case: Case) -> str:
    dtype, n_head, head_dim = case
    return f"{dtype.name}_{n_head}_{head_dim}"


def graph(case: Case) -> OneOp:
    dtype, n_head, head_dim = case
    n_state = n_head * head_dim

    def build(
        scores: BufferValue,
        q: TensorValue,
        audio: TensorValue,
        windows: TensorValue,
        heads: TensorValue,
    ) -> None:
        store_cross_attention_scores(scores, q, (audio, windows), heads, LAYER, head_dim)

    inputs = (
        mutable(F32, "n_rows", "n_scores", "n_new", "n_audio_ctx"),
        tensor(dtype, "n_rows", "n_new", n_state),
        tensor(dtype, "n_windows", "n_audio_ctx", N_LAYER * 2 * n_state),
        tensor(I32, "n_rows"),
        tensor(I32, "n_scores", 2),
    )
    return OneOp(inputs, build)


OPS = GpuOps(**{name_of(case): graph(case) for case in CASES})


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize("n_new", [1, 7, 8, 33])
@pytest.mark.parametrize("n_audio_ctx", [1, 3, 129, 1500])
@pytest.mark.parametrize("windows", [[0], [2, 0, 2]])
def test_scores(case: Case, n_new: int, n_audio_ctx: int, windows: list[int]) -> None:
    dtype, n_head, head_dim = case
    n_state, n_rows = n_head * head_dim, len(windows)
    heads = np.array([(LAYER, n_head - 1), (0, 0), (LAYER, 0), (2, 1), (LAYER, 1)])
    before = normal(n_rows, len(heads), n_new, n_audio_ctx, seed=2)
    q = normal(n_rows, n_new, n_state)
    audio = normal(max(windows) + 1, n_audio_ctx, N_LAYER * 2 * n_state, seed=1)
    (found,) = OPS.run(name_of(case), before, q, audio, np.array(windows), heads)
    for row, window in enumerate(windows):
        keys = audio[window, :, 2 * LAYER * n_state : (2 * LAYER + 1) * n_state]
        queries, keys = (layers.heads_of(rounded(x, dtype), n_head) for x in (q[row], keys))
        chosen = heads[:, 0] == LAYER
        expected = np.array([queries[h] @ keys[h].T for h in heads[chosen, 1]]) / np.sqrt(head_dim)
        # All heads at once: a single score may be a difference near zero.
        assert_rows_close(found[row, chosen].ravel(), expected.ravel(), F32)
        np.testing.assert_array_equal(found[row, ~chosen], before[row, ~chosen])
