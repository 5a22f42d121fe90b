"""whisper_gpu_transpose beside NumPy: shapes that fill no tile of 32 by 32; equal to the bit."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import transpose
from tests.support.gpu_ops import BF16, F16, F32, GpuOps, OneOp, normal, rounded, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

DTYPES = {"float32": F32, "float16": F16, "bfloat16": BF16}


def graph(dtype: DType) -> OneOp:
    def build(mel: TensorValue) -> TensorValue:
        return transpose(mel, dtype)

    return OneOp((tensor(F32, "n_batch", "n_mels", "n_frames"),), build)


OPS = GpuOps(**{name: graph(dtype) for name, dtype in DTYPES.items()})


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 7, 33), (2, 33, 65), (1, 32, 32), (2, 80, 3000), (1, 128, 3000)]
)
def test_transpose(name: str, shape: tuple[int, int, int]) -> None:
    mel = normal(*shape)
    (found,) = OPS.run(name, mel)
    np.testing.assert_array_equal(found, rounded(mel, DTYPES[name]).transpose(0, 2, 1))
