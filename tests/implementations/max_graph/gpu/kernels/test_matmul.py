"""whisper_gpu_matmul, all in float32, beside NumPy: one row, up to 32 by warps, more by tiles."""

from collections.abc import Sequence

import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from tests.support.gpu_cases import Layer
from tests.support.gpu_ops import F32, GpuOps, normal
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

KINDS = {
    "plain": Layer(False, False, False),
    "residual": Layer(False, False, True),
    "norm": Layer(True, False, False),
    "norm_gelu": Layer(True, True, False),
    "gelu_residual": Layer(False, True, True),
}
"""Flags for layer norm before, GELU after and a residual last, as in Whisper's layers."""
ROWS = [1, 2, 3, 7, 8, 9, 32, 33, 65, 129]
SHAPES = [(4, 1), (80, 3), (384, 65), (512, 64), (768, 130), (1024, 33), (1280, 384), (5120, 7)]
"""Inputs, a multiple of 4, and outputs."""

OPS = GpuOps(**{name: layer.graph(F32, "n_in") for name, layer in KINDS.items()})


def check(name: str, shape: Sequence[int], n_out: int, residual_shape: Sequence[int]) -> None:
    KINDS[name].check(OPS, name, F32, normal(*shape), n_out, residual_shape)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("n_rows", ROWS)
def test_matmul(name: str, n_rows: int, n_in: int, n_out: int) -> None:
    check(name, (1, n_rows, n_in), n_out, (1, n_rows))


@pytest.mark.parametrize("n_rows", [1, 3, 7, 33])
def test_a_residual_of_fewer_rows_is_repeated(n_rows: int) -> None:
    check("residual", (3, n_rows, 384), 384, (1, n_rows))
    check("gelu_residual", (3, n_rows, 384), 384, (1, 1))
