"""The custom operations of `gpu/kernels/`, as functions on graph values.

Shapes are given and checked here; what an operation computes is written beside its Mojo source.
"""

from pathlib import Path

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue, ops

KERNELS = Path(__file__).parent / "kernels"
GPU = DeviceRef.GPU()


def patches(
    x: TensorValue, dtype: DType, *, stride: int, channels_first: bool
) -> TensorValue:
    """[n_batch, n_frames, n_in] -> [n_batch, n_frames / stride, 3 * n_in], zero beyond the ends.

    With channels first, x is [n_batch, n_in, n_frames].
    """
    n_batch, n_frames, n_in = x.shape
    if channels_first:
        n_frames, n_in = n_in, n_frames
    shape = [n_batch, int(n_frames) // stride, 3 * int(n_in)]
    (result,) = ops.custom(
        "whisper_gpu_patches",
        GPU,
        [x],
        [TensorType(dtype, shape, GPU)],
        {"stride": stride, "channels_first": channels_first},
    )
    return result.tensor


def linear(
    x: TensorValue,
    weight: TensorValue,
    bias: TensorValue,
    residual: TensorValue | None = None,
    *,
    gelu: bool = False,
) -> TensorValue:
    raise NotImplementedError
