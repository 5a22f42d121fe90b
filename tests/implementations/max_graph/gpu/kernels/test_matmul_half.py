"""whisper_gpu_matmul_half beside NumPy: up to five rows by warps, more by the tensor cores.

The reference rounds matrices and what is given in half precision, and nothing else.
"""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import Epilogue, matmul
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

KINDS = {
    "query": (True, False, False, False),
    "widen": (True, True, False, False),
    "cross": (False, False, False, False),
    "logits": (True, False, False, True),
    "narrow": (False, False, True, True),
}
"""Flags for layer norm before, GELU after, a residual last, and a result in float32.

Those without a layer norm are given x in half precision but for `cross`; all layers of Whisper's
decoder are of one of these kinds.
"""
WIDTHS = [80, 384, 512, 768, 1024, 1280]
CASES = [
    *((kind, F16, width) for kind in ("query", "logits") for width in WIDTHS),
    *((kind, F16, width) for kind in ("widen", "cross") for width in (80, 384, 1280)),
    *(("narrow", F16, 4 * width) for width in (80, 384, 1280)),
    *((kind, BF16, 384) for kind in KINDS),
    ("narrow", BF16, 1536),
    *((kind, BF16, 1280) for kind in ("query", "narrow")),
]
MIN_ROW = 16
"""Shorter rows are compared together: a single sum may come close to zero."""
ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 33, 64, 65, 129]


def name_of(kind: str, dtype: DType, n_in: int) -> str:
    return f"{kind}_{dtype.name}_{n_in}"


def graph(kind: str, dtype: DType, n_in: int) -> OneOp:
    has_norm, has_gelu, has_residual, is_wide = KINDS[kind]

    def build(x: TensorValue, w: TensorValue, bias: TensorValue, *more: TensorValue) -> TensorValue:
        residual = more[0] if has_residual else None
        norm = (more[-2], more[-1]) if has_norm else None
        return matmul(x, w, bias, norm, Epilogue(has_gelu, residual, F32 if is_wide else dtype))

    inputs = [
        tensor(dtype if has_residual else F32, "n_batch", "n_rows", n_in),
        tensor(dtype, "n_out", n_in),
        tensor(F32, "n_out"),
    ]
    if has_residual:
        inputs.append(tensor(F32, "n_residual", "n_residual_rows", "n_out"))
    if has_norm:
        inputs += [tensor(F32, n_in), tensor(F32, n_in)]
    return OneOp(tuple(inputs), build)


OPS = GpuOps(**{name_of(*case): graph(*case) for case in CASES})


def check(case: tuple[str, DType, int], n_batch: int, n_rows: int, n_out: int) -> None:
    kind, dtype, n_in = case
    has_norm, has_gelu, has_residual, _ = KINDS[kind]
    x = normal(n_batch, n_rows, n_in) + 0.5
    w, bias = normal(n_out, n_in, scale=n_in**-0.5), normal(n_out)
    residual = normal(n_batch, n_rows, n_out, seed=3)
    norm = normal(n_in, seed=1) + 1, normal(n_in, seed=2)
    given = [x, w, bias, *([residual] if has_residual else []), *(norm if has_norm else ())]
    (found,) = OPS.run(name_of(*case), *given)
    x, w = rounded(x, dtype) if has_residual else x, rounded(w, dtype)
    expected = layers.layer_norm(x, *norm).astype(np.float32) if has_norm else x
    expected = expected @ w.T + bias
    expected = layers.gelu(expected) if has_gelu else expected
    expected = expected + residual if has_residual else expected
    if n_out < MIN_ROW:
        found, expected = found.reshape(1, -1), expected.reshape(1, -1)
    assert_rows_close(found, expected, dtype)


@pytest.mark.parametrize("case", CASES, ids=lambda case: name_of(*case))
@pytest.mark.parametrize("n_out", [65, 384])
@pytest.mark.parametrize("n_rows", ROWS)
def test_matmul_half(case: tuple[str, DType, int], n_rows: int, n_out: int) -> None:
    check(case, 1, n_rows, n_out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n_batch", "n_rows", "n_out"), [(3, 7, 1003), (1, 1, 3), (32, 1, 1), (5, 1, 51866)]
)
def test_outputs_that_fill_no_tile(kind: str, n_batch: int, n_rows: int, n_out: int) -> None:
    check((kind, F16, 1536 if kind == "narrow" else 384), n_batch, n_rows, n_out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [F16, BF16])
@pytest.mark.parametrize(("n_rows", "n_out"), [(2561, 1536), (10241, 384)])
def test_rows_for_large_tiles(kind: str, dtype: DType, n_rows: int, n_out: int) -> None:
    check((kind, dtype, 1536 if kind == "narrow" else 384), 1, n_rows, n_out)
