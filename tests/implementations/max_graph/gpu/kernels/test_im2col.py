"""whisper_gpu_im2col beside NumPy: both layouts of frames, both strides, ends; equal to the bit."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import im2col
from tests.support import layers
from tests.support.gpu_ops import BF16, F16, F32, GpuOps, OneOp, normal, rounded, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

CASES = {
    "mel_80": (True, 1, 33, 80, F32),
    "mel_128": (True, 1, 64, 128, F16),
    "mel_strided": (True, 2, 7, 3, F32),
    "one_frame": (False, 1, 1, 5, F32),
    "odd": (False, 2, 7, 3, BF16),
    "strided": (False, 2, 34, 384, F32),
    "wide": (False, 2, 8, 1280, F32),
}
"""Channels first or last, stride, frames, channels, and the dtype of the result."""


def graph(channels_first: bool, stride: int, n_frames: int, n_in: int, dtype: DType) -> OneOp:
    def build(x: TensorValue) -> TensorValue:
        return im2col(x, dtype, stride=stride, channels_first=channels_first)

    shape = (n_in, n_frames) if channels_first else (n_frames, n_in)
    return OneOp((tensor(F32, "n_batch", *shape),), build)


OPS = GpuOps(**{name: graph(*case) for name, case in CASES.items()})


@pytest.mark.parametrize("n_batch", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_im2col(name: str, n_batch: int) -> None:
    channels_first, stride, n_frames, n_in, dtype = CASES[name]
    x = normal(n_batch, n_frames, n_in)
    given = np.ascontiguousarray(x.transpose(0, 2, 1)) if channels_first else x
    (found,) = OPS.run(name, given)
    np.testing.assert_array_equal(found, rounded(layers.conv_frames(x, stride), dtype))
