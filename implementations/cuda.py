"""`cuda`: openai-whisper's PyTorch model on an NVIDIA GPU."""

from typing import ClassVar

import torch

from implementations.errors import ImplementationUnavailableError
from implementations.torch_model.implementation import TorchImplementation
from implementations.torch_tensors import find_gpu


class CudaImplementation(TorchImplementation):
    """Half precision by default, as upstream runs on a GPU."""

    name: ClassVar[str] = "cuda"
    default_dtype: ClassVar[str] = "float16"

    @classmethod
    def choose_device(cls, device: str | None) -> torch.device:
        """Returns the GPU of that name, `cuda` or `cuda:N`.

        Raises:
            ImplementationUnavailableError: It is no GPU, or there is none of that name.
        """
        chosen = device or "cuda"
        if chosen.partition(":")[0] != "cuda":
            raise ImplementationUnavailableError(
                f"implementation cuda does not run on {device}; use --device cuda or cuda:N"
            )
        return find_gpu(chosen)
