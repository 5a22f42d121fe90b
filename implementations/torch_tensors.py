"""Devices, dtypes and tensors, shared by everything that runs on PyTorch.

It holds no model and imports no openai-whisper.
"""

from typing import Self

import torch

from implementations.cuda_driver import gpu_index
from implementations.errors import ImplementationUnavailableError
from implementations.session import AudioFeatures, FloatArray
from weights.checkpoint import Array

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchAudioFeatures(AudioFeatures):
    """Encoder output as a tensor [n_batch, n_audio_ctx, n_audio_state]."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: int) -> Self:
        return type(self)(self.tensor[index : index + 1])

    def numpy(self) -> FloatArray:
        """Returns a float32 copy on the host."""
        return float32_array(self.tensor)


def float32_array(tensor: torch.Tensor) -> FloatArray:
    """Returns a float32 copy on the host."""
    array: FloatArray = tensor.float().cpu().numpy().copy()
    return array


def as_tensor(array: Array, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Returns a copy, on a device, of a checkpoint's array, which may be mapped from a file."""
    tensor = torch.empty(array.shape)
    tensor.numpy()[...] = array
    return tensor.to(device, dtype)


def free(module: torch.nn.Module) -> None:
    """Frees a module's weights, and the memory that PyTorch caches on a GPU."""
    module.to("meta")
    torch.cuda.empty_cache()


def find_gpu(name: str) -> torch.device:
    """Returns the GPU of that name, `cuda` or `cuda:N`.

    Raises:
        ImplementationUnavailableError: PyTorch finds no GPU, or not that one.
    """
    if not torch.cuda.is_available():
        raise ImplementationUnavailableError(
            f"torch {torch.__version__} finds no usable NVIDIA GPU; see nvidia-smi"
        )
    index = gpu_index(name)
    if index is None or index >= torch.cuda.device_count():
        raise ImplementationUnavailableError(
            f"there is no GPU {name}; this machine has {torch.cuda.device_count()}"
        )
    # cuDNN's convolutions would round float32 to 10 bits (TF32).
    torch.backends.cudnn.allow_tf32 = False
    # cuDNN's attention would plan again, for 50 ms, for every new length of the text.
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)
    return torch.device("cuda", index)
