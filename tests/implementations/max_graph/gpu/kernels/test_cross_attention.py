"""whisper_gpu_cross_attention beside NumPy: keys split among blocks or not, and few of them."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import MAX_SPLITS, cross_attention
from tests.support.gpu_cases import WHISPER_HEADS, Heads, expected_attention
from tests.support.gpu_ops import (
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
CASES = [*WHISPER_HEADS, Heads(F32, 2, 32)]


def graph(heads: Heads, shared_splits: int) -> OneOp:
    dtype, n_state = heads.dtype, heads.n_state

    def build(q: TensorValue, audio: TensorValue, windows: TensorValue) -> TensorValue:
        attended = (audio, windows)
        return cross_attention(q, attended, LAYER, heads.head_dim, shared_splits=shared_splits)

    inputs = (
        tensor(dtype, "n_rows", "n_new", n_state),
        tensor(dtype, "n_windows", "n_audio_ctx", N_LAYER * 2 * n_state),
        tensor(I32, "n_rows"),
    )
    return OneOp(inputs, build)


OPS = GpuOps(
    **{f"{heads} {splits}": graph(heads, splits) for heads in CASES for splits in (1, MAX_SPLITS)}
)


def check(heads: Heads, windows: list[int], n_new: int, n_audio_ctx: int) -> None:
    """Compares both ways to feed several tokens: in a decoder, and for word times."""
    dtype, n_state = heads.dtype, heads.n_state
    q = normal(len(windows), n_new, n_state)
    audio = normal(max(windows) + 2, n_audio_ctx, N_LAYER * 2 * n_state, seed=1)
    results = [
        OPS.run(f"{heads} {splits}", q, audio, np.array(windows))[0] for splits in (1, MAX_SPLITS)
    ]
    q, audio = rounded(q, dtype), rounded(audio, dtype)
    k, v = np.split(audio[..., 2 * LAYER * n_state :], 2, axis=-1)
    expected = [
        expected_attention(heads, row, k[window], v[window])
        for row, window in zip(q, windows, strict=True)
    ]
    for found in results:
        assert_rows_close(found, np.stack(expected), dtype)


@pytest.mark.parametrize("heads", CASES, ids=str)
@pytest.mark.parametrize("n_audio_ctx", [1, 3, 33, 65, 1500])
@pytest.mark.parametrize("n_new", [1, 3, 7, 8, 9])
def test_cross_attention(heads: Heads, n_new: int, n_audio_ctx: int) -> None:
    check(heads, [0], n_new, n_audio_ctx)


@pytest.mark.parametrize("heads", CASES, ids=str)
@pytest.mark.parametrize(
    "windows", [[1, 0, 2], [0] * 5, [2, 2, 0, 0, 1, 1, 3, 3, 0], [*range(8)] * 8]
)
def test_rows_listen_to_windows_of_their_own(heads: Heads, windows: list[int]) -> None:
    check(heads, windows, 1, 130)
    check(heads, windows, 9, 33)
