"""whisper_gpu_matmul_half beside NumPy: up to five rows by warps, more by the tensor cores.

Those split the inputs or have tiles, which depends on the numbers of rows and outputs.

The reference rounds matrices and what is given in half precision, and nothing else.
"""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType

from tests.support.gpu_cases import Layer
from tests.support.gpu_ops import BF16, F16, GpuOps, normal
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu, pytest.mark.usefixtures("gpu_kernels")]

KINDS = {
    "query": Layer(True, False, False, False),
    "widen": Layer(True, True, False, False),
    "cross": Layer(False, False, False, False),
    "logits": Layer(True, False, False, True),
    "narrow": Layer(False, False, True, True),
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
ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129]


def name_of(kind: str, dtype: DType, n_in: int) -> str:
    return f"{kind}_{dtype.name}_{n_in}"


OPS = GpuOps(**{name_of(*case): KINDS[case[0]].graph(*case[1:]) for case in CASES})


def check(case: tuple[str, DType, int], n_batch: int, n_rows: int, n_out: int) -> None:
    kind, dtype, n_in = case
    x = normal(n_batch, n_rows, n_in) + np.float32(0.5)
    KINDS[kind].check(OPS, name_of(*case), dtype, x, n_out, (n_batch, n_rows))


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
@pytest.mark.parametrize("n_rows", [6, 32, 33, 64, 65, 128, 129])
@pytest.mark.parametrize("n_out", [1536, 5120, 51866])
def test_rows_of_a_batch(kind: str, dtype: DType, n_rows: int, n_out: int) -> None:
    check((kind, dtype, 1536 if kind == "narrow" else 384), n_rows, 1, n_out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [F16, BF16])
@pytest.mark.parametrize(("n_rows", "n_out"), [(2561, 1536), (10241, 384)])
def test_rows_for_large_tiles(kind: str, dtype: DType, n_rows: int, n_out: int) -> None:
    check((kind, dtype, 1536 if kind == "narrow" else 384), 1, n_rows, n_out)
