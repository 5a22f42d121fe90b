"""whisper_gpu_gather_rows beside NumPy: rows of several texts, repeated and out of order."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.max_graph.gpu.graphs.ops import gather_rows
from tests.support.gpu_ops import F32, I32, GpuOps, OneOp, normal, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

OPS = GpuOps(
    gather_rows=OneOp(
        (tensor(F32, "n_rows", "n_new", "n_state"), tensor(I32, "n_selected")), gather_rows
    )
)


@pytest.mark.parametrize("n_state", [1, 80, 384, 1280])
@pytest.mark.parametrize("rows", [[0], [32], [8, 8, 3], [*range(33)], [0] * 70])
def test_gather_rows(rows: list[int], n_state: int) -> None:
    x = normal(3, 11, n_state)
    (found,) = OPS.run("gather_rows", x, np.array(rows))
    np.testing.assert_array_equal(found, x.reshape(33, n_state)[None, rows])
