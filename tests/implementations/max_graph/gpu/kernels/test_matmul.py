"""whisper_gpu_matmul, all in float32, beside NumPy: one row, up to 32 by warps, more by tiles."""

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import Epilogue, matmul
from tests.support import layers
from tests.support.gpu_ops import F32, GpuOps, OneOp, assert_rows_close, normal, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

KINDS = {
    "plain": (False, False, False),
    "residual": (False, False, True),
    "norm": (True, False, False),
    "norm_gelu": (True, True, False),
    "gelu_residual": (False, True, True),
}
"""Flags for layer norm before, GELU after and a residual last, as in Whisper's layers."""
MIN_ROW = 16
"""Shorter rows are compared together: a single sum may come close to zero."""
ROWS = [1, 2, 3, 7, 8, 9, 32, 33, 65, 129]
SHAPES = [(4, 1), (80, 3), (384, 65), (512, 64), (768, 130), (1024, 33), (1280, 384), (5120, 7)]
"""Inputs, a multiple of 4, and outputs."""


def graph(has_norm: bool, has_gelu: bool, has_residual: bool) -> OneOp:
    def build(x: TensorValue, w: TensorValue, bias: TensorValue, *more: TensorValue) -> TensorValue:
        residual = more[0] if has_residual else None
        norm = (more[-2], more[-1]) if has_norm else None
        return matmul(x, w, bias, norm, Epilogue(has_gelu, residual, F32))

    inputs = [
        tensor(F32, "n_batch", "n_rows", "n_in"),
        tensor(F32, "n_out", "n_in"),
        tensor(F32, "n_out"),
    ]
    if has_residual:
        inputs.append(tensor(F32, "n_residual", "n_residual_rows", "n_out"))
    if has_norm:
        inputs += [tensor(F32, "n_in"), tensor(F32, "n_in")]
    return OneOp(tuple(inputs), build)


OPS = GpuOps(**{name: graph(*kind) for name, kind in KINDS.items()})


def check(name: str, shape: Sequence[int], n_out: int, residual_shape: Sequence[int]) -> None:
    has_norm, has_gelu, has_residual = KINDS[name]
    n_in = shape[-1]
    x, w, bias = normal(*shape), normal(n_out, n_in, scale=n_in**-0.5), normal(n_out)
    residual = normal(*residual_shape, n_out, seed=3)
    norm = normal(n_in, seed=1) + 1, normal(n_in, seed=2)
    given = [x, w, bias, *([residual] if has_residual else []), *(norm if has_norm else ())]
    (found,) = OPS.run(name, *given)
    expected = layers.layer_norm(x, *norm) if has_norm else x.astype(np.float64)
    expected = expected @ w.T.astype(np.float64) + bias
    expected = layers.gelu(expected) if has_gelu else expected
    expected = expected + residual if has_residual else expected
    if n_out < MIN_ROW:
        found, expected = found.reshape(1, -1), expected.reshape(1, -1)
    assert_rows_close(found, expected, F32)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("n_rows", ROWS)
def test_matmul(name: str, n_rows: int, n_in: int, n_out: int) -> None:
    check(name, (1, n_rows, n_in), n_out, (1, n_rows))


@pytest.mark.parametrize("n_rows", [1, 3, 7, 33])
def test_a_residual_of_fewer_rows_is_repeated(n_rows: int) -> None:
    check("residual", (3, n_rows, 384), 384, (1, n_rows))
    check("gelu_residual", (3, n_rows, 384), 384, (1, 1))
