"""whisper_gpu_layer_norm beside NumPy: every width, odd ones too, and rows of little variance."""

import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.max_graph.gpu.graphs.ops import layer_norm
from tests.support import layers
from tests.support.gpu_ops import F32, GpuOps, OneOp, assert_rows_close, normal, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

OPS = GpuOps(
    layer_norm=OneOp(
        (
            tensor(F32, "n_batch", "n_ctx", "n_state"),
            tensor(F32, "n_state"),
            tensor(F32, "n_state"),
        ),
        layer_norm,
    )
)


@pytest.mark.parametrize("n_state", [1, 3, 33, 80, 384, 512, 768, 1024, 1280])
@pytest.mark.parametrize(("n_batch", "n_ctx"), [(1, 1), (3, 1), (1, 7), (3, 33)])
def test_layer_norm(n_batch: int, n_ctx: int, n_state: int) -> None:
    x = normal(n_batch, n_ctx, n_state) + 3
    x[0, 0] *= 1e-3  # variance 1e-6: epsilon decides
    weight, bias = normal(n_state, seed=1) + 1, normal(n_state, seed=2) + 1
    (found,) = OPS.run("layer_norm", x, weight, bias)
    assert_rows_close(found, layers.layer_norm(x, weight, bias), F32)
