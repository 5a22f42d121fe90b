"""whisper_gpu_encoder_post_attention beside NumPy: three kernels for few rows, one for many.

The reference rounds matrices and what is given, and nothing else.
"""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import TensorType, TensorValue

from implementations.max_graph.gpu.graphs.encoder_ops import (
    MAX_NORM_WIDTH,
    ResidualNorm,
    encoder_post_attention,
)
from tests.support import layers
from tests.support.gpu_ops import (
    BF16,
    F16,
    F32,
    Array,
    GpuOps,
    OneOp,
    assert_rows_close,
    normal,
    rounded,
    tensor,
)
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu, pytest.mark.usefixtures("gpu_kernels")]

MATRICES = {"out": (1, 1), "widen": (4, 1), "narrow": (1, 4)}
"""Outputs and inputs, in widths of a state."""
CASES = [
    *((F16, width, F16, True) for width in (384, 512, 768, 1024, 1280)),
    *((BF16, width, BF16, True) for width in (384, 1280)),
    *((dtype, 384, F32, False) for dtype in (F16, BF16)),
    (F16, 1280, F32, True),
    (F16, 512, F32, False),
]
"""Dtype, width, what the normalised rows are, and whether the sum is stored.

The last block's rows leave the encoder as float32, and its sum is stored only if that is traced.
"""
Case = tuple[DType, int, DType, bool]


def name_of(case: Case) -> str:
    dtype, width, norm_dtype, is_stored = case
    return f"{dtype.name}_{width}_{norm_dtype.name}" + ("" if is_stored else "_normed_only")


def graph(case: Case) -> OneOp:
    dtype, width, norm_dtype, is_stored = case

    def build(
        attended: TensorValue, residual: TensorValue, *weights: TensorValue
    ) -> tuple[TensorValue, ...]:
        weight, bias = weights[8:]
        ending = ResidualNorm(residual, weight, bias, norm_dtype, store_output=is_stored)
        found = encoder_post_attention(attended, weights[:8], ending)
        return found if is_stored else found[1:]

    def layer(name: str) -> list[TensorType]:
        n_out, n_in = (n * width for n in MATRICES[name])
        return [tensor(dtype, n_out, n_in), tensor(F32, n_out)]

    norm = [tensor(F32, width), tensor(F32, width)]
    inputs = [
        tensor(dtype, "n_batch", "n_ctx", width),
        tensor(F32, "n_batch", "n_ctx", width),
        *(*layer("out"), *norm, *layer("widen"), *layer("narrow"), *norm),
    ]
    return OneOp(tuple(inputs), build)


OPS = GpuOps(**{name_of(case): graph(case) for case in CASES})


def check(case: Case, n_batch: int, n_ctx: int) -> None:
    dtype, width, _, is_stored = case
    assert is_stored or width <= MAX_NORM_WIDTH
    weights: list[Array] = []
    for i, (n_out, n_in) in enumerate(MATRICES.values()):
        scale = (n_in * width) ** -0.5
        weights.append(normal(n_out * width, n_in * width, seed=i, scale=scale))
        weights.append(normal(n_out * width, seed=10 + i))
    norm = normal(width, seed=1) + 1, normal(width, seed=2)
    last_norm = normal(width, seed=3) + 1, normal(width, seed=4)
    attended, residual = normal(n_batch, n_ctx, width), normal(n_batch, n_ctx, width, seed=5)
    found = OPS.run(
        name_of(case), attended, residual, *weights[:2], *norm, *weights[2:], *last_norm
    )
    out, out_bias, widen, widen_bias, narrow, narrow_bias = (
        rounded(x, dtype) if x.ndim > 1 else x for x in weights
    )
    x = rounded(attended, dtype) @ out.T + out_bias + residual
    hidden = layers.layer_norm(x, *norm).astype(np.float32) @ widen.T + widen_bias
    x = x + layers.gelu(hidden).astype(np.float32) @ narrow.T + narrow_bias
    assert_rows_close(found[-1], layers.layer_norm(x, *last_norm), dtype)
    if is_stored:
        assert_rows_close(found[0], x, dtype)


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize(("n_batch", "n_ctx"), [(1, 1), (3, 1), (1, 7), (1, 33), (2, 65), (1, 129)])
def test_encoder_post_attention(case: Case, n_batch: int, n_ctx: int) -> None:
    check(case, n_batch, n_ctx)


@pytest.mark.parametrize("case", [case for case in CASES if case[1] <= 512], ids=name_of)
@pytest.mark.parametrize(("n_batch", "n_ctx"), [(1, 5001), (6, 1500), (1, 9001)])
def test_many_rows(case: Case, n_batch: int, n_ctx: int) -> None:
    """From 5,001 rows on tiles are larger, and of width 384 9,000 rows have one kernel."""
    check(case, n_batch, n_ctx)
