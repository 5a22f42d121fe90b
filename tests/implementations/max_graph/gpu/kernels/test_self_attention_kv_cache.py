"""whisper_gpu_self_attention_kv_cache beside NumPy: what is attended to, and what the cache holds.

Rows are at positions of their own, and keep them in slots that change from position to position,
as they do after beams were reordered.
"""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.graph import BufferValue, TensorValue

from implementations.max_graph.gpu.graphs.ops import self_attention_kv_cache
from tests.support.gpu_cases import WHISPER_HEADS, Heads, expected_attention
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
CASES = [*WHISPER_HEADS, Heads(F32, 2, 32)]


def graph(heads: Heads) -> OneOp:
    dtype, n_state = heads.dtype, heads.n_state

    def build(
        qkv: TensorValue, cache: BufferValue, offsets: TensorValue, slots: BufferValue
    ) -> TensorValue:
        return self_attention_kv_cache(qkv, cache, offsets, slots, LAYER, heads.head_dim)

    inputs = (
        tensor(dtype, "n_rows", "n_new", 3 * n_state),
        mutable(dtype, N_LAYER, "n_slots", "n_ctx", 2 * n_state),
        tensor(I32, "n_rows"),
        mutable(I32, "n_rows", "n_ctx"),
    )
    return OneOp(inputs, build)


OPS = GpuOps(**{str(heads): graph(heads) for heads in CASES})


def check(heads: Heads, offsets: list[int], n_new: int, n_ctx: int) -> None:
    dtype, n_state, n_rows = heads.dtype, heads.n_state, len(offsets)
    generator = np.random.default_rng(0)
    slots = np.array([generator.permutation(n_rows + 2)[:n_rows] for _ in range(n_ctx)]).T
    qkv = normal(n_rows, n_new, 3 * n_state)
    cache = normal(N_LAYER, n_rows + 2, n_ctx, 2 * n_state, seed=1)
    found, cache_after, slots_after = OPS.run(str(heads), qkv, cache, np.array(offsets), slots)
    np.testing.assert_array_equal(slots_after, slots)

    qkv, cache = rounded(qkv, dtype), rounded(cache, dtype)
    for row, offset in enumerate(offsets):
        for i, position in enumerate(range(offset, min(offset + n_new, n_ctx))):
            cache[LAYER, slots[row, position], position] = qkv[row, i, n_state:]
    np.testing.assert_array_equal(cache_after, cache)

    for row, offset in enumerate(offsets):
        n_kept = min(offset + n_new, n_ctx)
        past = cache[LAYER, slots[row, :n_kept], np.arange(n_kept)]
        is_seen = np.arange(n_kept) <= offset + np.arange(n_kept - offset)[:, None]
        q = qkv[row, : n_kept - offset, :n_state]
        k, v = np.split(past, 2, axis=-1)
        expected = expected_attention(heads, q, k, v, is_seen)
        assert_rows_close(found[row, : n_kept - offset], expected, dtype)


@pytest.mark.parametrize("heads", CASES, ids=str)
@pytest.mark.parametrize("n_new", [1, 3, 7, 8, 9, 33])
@pytest.mark.parametrize("n_rows", [1, 2, 5, 9])
def test_self_attention_kv_cache(heads: Heads, n_rows: int, n_new: int) -> None:
    n_ctx = 70
    offsets = np.random.default_rng(3).integers(0, n_ctx - n_new, n_rows).tolist()
    offsets[-1] = n_ctx - n_new
    offsets[0] = 0 if n_rows > 1 else offsets[0]
    check(heads, offsets, n_new, n_ctx)


@pytest.mark.parametrize("heads", [Heads(F16, 6), Heads(F32, 6), Heads(BF16, 20)], ids=str)
@pytest.mark.parametrize("offset", [0, 63, 64, 65, 446, 447])
def test_steps_along_a_whole_context(heads: Heads, offset: int) -> None:
    check(heads, [offset] * 5, 1, 448)


@pytest.mark.parametrize("heads", [Heads(F16, 6), Heads(F32, 6)], ids=str)
@pytest.mark.parametrize("n_rows", [1, 32])
def test_a_long_prompt(heads: Heads, n_rows: int) -> None:
    check(heads, [0] * n_rows, 227, 448)


@pytest.mark.parametrize("heads", [Heads(F16, 6), Heads(F32, 6)], ids=str)
def test_nothing_is_kept_beyond_the_context(heads: Heads) -> None:
    check(heads, [60, 69], 17, 70)
