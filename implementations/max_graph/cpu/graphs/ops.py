"""The custom operations of `kernels/`, as functions on graph values.

Shapes are given and checked here; what an operation computes is written beside its Mojo source.
"""

from dataclasses import dataclass
from pathlib import Path

from max.dtype import DType
from max.graph import DeviceRef, Graph, ShapeLike, TensorType, TensorValue, Weight, ops

from weights.dims import HOP_LENGTH, N_FFT

KERNELS = Path(__file__).parents[1] / "kernels"
CPU = DeviceRef.CPU()
N_THREADS = Weight("n_threads", DType.int32, (1,), CPU)
"""Threads that an operation may use, 0 for all: the runtime's own setting for it aborts."""


NO_SCALES = Weight("no_scales", DType.float32, (1,), CPU)
"""Stands where a matrix that needs none would have its scales."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A factor [n_out, n_in] of products, in the graph being built."""

    panels: TensorValue
    """[n_panels, n_in, PANEL]."""
    scales: TensorValue
    """[n_panels * PANEL] of integers, one for each row of the matrix; otherwise not read."""


def layer_norm(x: TensorValue, weight: TensorValue, bias: TensorValue) -> TensorValue:
    """[n_batch, n_ctx, n_state] -> the same shape."""
    return _tensor("whisper_layer_norm", [x, weight, bias, n_threads()], x.shape)


def log_mel(
    samples: TensorValue,
    filters: TensorValue,
    window: TensorValue,
    cosines: TensorValue,
    sines: TensorValue,
) -> TensorValue:
    """[n_samples], [n_mels, 201] -> log10 of band power, [n_frames, n_mels]."""
    n_frames = (samples.shape[0] - N_FFT) // HOP_LENGTH + 1
    return _tensor(
        "whisper_log_mel",
        [samples, filters, window, cosines, sines, n_threads()],
        [n_frames, filters.shape[0]],
    )


def n_threads() -> TensorValue:
    """The user's thread count, [1]."""
    return Graph.current.add_weight(N_THREADS)


def _tensor(
    name: str,
    values: list[TensorValue],
    shape: ShapeLike,
) -> TensorValue:
    """An operation with one float32 tensor as its result."""
    (result,) = ops.custom(name, CPU, values, [TensorType(DType.float32, shape, CPU)])
    return result.tensor
