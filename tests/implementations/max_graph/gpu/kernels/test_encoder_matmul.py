"""whisper_gpu_encoder_matmul beside NumPy: both convolutions, layers with and without what follows.

The reference rounds matrices and what is given, and nothing else.
"""

import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.encoder_ops import (
    MAX_NORM_WIDTH,
    ResidualNorm,
    Taps,
    encoder_matmul,
)
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

pytestmark = [pytest.mark.gpu, needs_max_gpu, pytest.mark.usefixtures("gpu_kernels")]

KINDS = {
    "conv1": (3, 1, True, False),
    "conv2": (3, 2, True, True),
    "query": (1, 1, False, False),
    "widen": (1, 1, True, False),
    "out": (1, 1, False, True),
}
"""Taps, stride, whether GELU follows, and whether a residual and a layer norm follow."""
CASES = [
    *(("conv1", F16, n_mels, 384) for n_mels in (80, 128)),
    *(("conv1", F16, 128, width) for width in (512, 1280)),
    *(("conv2", F16, width, width) for width in (384, 512, 768, 1024, 1280)),
    *(("out", F16, width, width) for width in (384, 512, 768, 1024, 1280)),
    ("out", F16, 1536, 384),
    ("query", F16, 384, 1152),
    ("widen", F16, 1280, 5120),
    ("conv1", BF16, 80, 384),
    *((kind, BF16, width, width) for kind in ("conv2", "out") for width in (384, 1280)),
    ("query", BF16, 384, 1152),
]
"""Kind, dtype, inputs, outputs."""
Case = tuple[str, DType, int, int]


def name_of(kind: str, dtype: DType, n_in: int, n_out: int, *, is_stored: bool = True) -> str:
    return f"{kind}_{dtype.name}_{n_in}_{n_out}" + ("" if is_stored else "_normed_only")


def graph(case: Case, *, is_stored: bool = True) -> OneOp:
    kind, dtype, n_in, n_out = case
    n_taps, stride, has_gelu, has_norm = KINDS[kind]

    def build(
        x: TensorValue, w: TensorValue, bias: TensorValue, *more: TensorValue
    ) -> tuple[TensorValue, ...]:
        ending = None
        if has_norm:
            residual, weight, shift = more
            ending = ResidualNorm(residual, weight, shift, dtype, store_output=is_stored)
        found = encoder_matmul(x, w, bias, Taps(n_taps, stride), ending, gelu=has_gelu)
        return found[0 if is_stored else 1 : 2 if has_norm else 1]

    inputs = [
        tensor(dtype, "n_batch", "n_frames", n_in),
        tensor(dtype, n_out, n_taps * n_in),
        tensor(F32, n_out),
    ]
    if has_norm:
        inputs += [tensor(F32, "n_residual_rows", n_out), tensor(F32, n_out), tensor(F32, n_out)]
    return OneOp(tuple(inputs), build)


UNSTORED = [case for case in CASES if case[0] == "out" and case[3] <= MAX_NORM_WIDTH]
OPS = GpuOps(
    **{name_of(*case): graph(case) for case in CASES},
    **{name_of(*case, is_stored=False): graph(case, is_stored=False) for case in UNSTORED},
)


def check(case: Case, n_batch: int, n_frames: int, *, is_stored: bool = True) -> None:
    kind, dtype, n_in, n_out = case
    n_taps, stride, has_gelu, has_norm = KINDS[kind]
    x = normal(n_batch, n_frames, n_in) + 0.5
    w = normal(n_out, n_taps * n_in, scale=(n_taps * n_in) ** -0.5)
    bias, residual = normal(n_out), normal(n_frames // stride, n_out, seed=3)
    norm = normal(n_out, seed=1) + 1, normal(n_out, seed=2)
    name = name_of(*case, is_stored=is_stored)
    found = OPS.run(name, x, w, bias, *((residual, *norm) if has_norm else ()))
    x, w = rounded(x, dtype), rounded(w, dtype)
    rows = layers.conv_frames(x, stride) if n_taps > 1 else x
    expected = rows @ w.T + bias
    expected = layers.gelu(expected) if has_gelu else expected
    if has_norm:
        expected = expected + residual
        assert_rows_close(found[-1], layers.layer_norm(expected, *norm), dtype)
    if is_stored:
        assert_rows_close(found[0], expected, dtype)


@pytest.mark.parametrize("case", CASES, ids=lambda case: name_of(*case))
@pytest.mark.parametrize(("n_batch", "n_frames"), [(1, 2), (3, 6), (2, 34), (1, 130), (1, 3000)])
def test_encoder_matmul(case: Case, n_batch: int, n_frames: int) -> None:
    check(case, n_batch, n_frames)


@pytest.mark.parametrize("case", UNSTORED, ids=lambda case: name_of(*case))
@pytest.mark.parametrize("n_frames", [1, 7, 33, 129])
def test_the_sum_need_not_be_stored(case: Case, n_frames: int) -> None:
    check(case, 3, n_frames, is_stored=False)


@pytest.mark.parametrize("kind", ["conv2", "out"])
@pytest.mark.parametrize("width", [384, 512])
def test_rows_for_large_tiles(kind: str, width: int) -> None:
    """More than 5,000 rows."""
    check((kind, F16, width, width), 4, 3000)
