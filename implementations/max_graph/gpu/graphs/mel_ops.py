"""Operations on log-mel frames, as functions on graph values."""

from max.dtype import DType
from max.graph import Dim, TensorType, TensorValue, ops

from implementations.max_graph.gpu.graphs.ops import gpu, one_tensor
from weights.dims import HOP_LENGTH, N_FFT

FRAMES_OF_BLOCK = 8
"""Frames that share a peak."""


def log_mel(
    samples: TensorValue, filters: TensorValue, window: TensorValue, waves: TensorValue
) -> tuple[TensorValue, TensorValue]:
    """[n_samples], [n_mels, 201] -> log10 of band power [n_frames, n_mels], its peaks [n_blocks].

    A peak is the highest value of `FRAMES_OF_BLOCK` frames.
    """
    n_frames = (samples.shape[0] - N_FFT) // HOP_LENGTH + 1
    n_blocks = (n_frames + FRAMES_OF_BLOCK - 1) // FRAMES_OF_BLOCK
    types = [
        TensorType(DType.float32, [n_frames, filters.shape[0]], gpu()),
        TensorType(DType.float32, [n_blocks], gpu()),
    ]
    values = [samples, filters, window, waves]
    parameters = {"frames_of_block": FRAMES_OF_BLOCK}
    frames, peaks = ops.custom("whisper_gpu_log_mel", gpu(), values, types, parameters)
    return frames.tensor, peaks.tensor


def mel_windows(
    frames: TensorValue, floors: TensorValue, counts: TensorValue, n_frames: int
) -> TensorValue:
    """[n_windows * n_frames, n_mels] -> [n_windows, n_mels, n_frames], scaled for the encoder.

    Window i has counts[i, 0] frames, silence up to frame counts[i, 1], and zeros behind that; none
    of its values is below floors[i], before the scale.
    """
    shape: list[Dim | int] = [floors.shape[0], frames.shape[1], n_frames]
    return one_tensor("whisper_gpu_mel_windows", [frames, floors, counts], shape)


def mel_loudness(frames: TensorValue, floor: TensorValue) -> TensorValue:
    """[n_frames, n_mels], floor [1] -> mean of the scaled bands of each frame, [n_frames]."""
    shape = [frames.shape[0]]
    return one_tensor("whisper_gpu_mel_loudness", [frames, floor], shape, DType.float64)
