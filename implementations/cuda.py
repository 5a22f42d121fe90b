"""`cuda`: openai-whisper's PyTorch model on an NVIDIA GPU."""

from typing import ClassVar

import torch

from implementations.errors import ImplementationUnavailableError
from implementations.torch_model.implementation import TorchImplementation


class CudaImplementation(TorchImplementation):
    """Half precision by default, as upstream runs on a GPU."""

    name: ClassVar[str] = "cuda"
    default_dtype: ClassVar[str] = "float16"

    @classmethod
    def choose_device(cls, device: str | None) -> torch.device:
        """The GPU of that name, `cuda` or `cuda:N`."""
        chosen = device or "cuda"
        if chosen.partition(":")[0] != "cuda":
            raise ImplementationUnavailableError(
                f"implementation cuda does not run on {device}; use --device cuda or cuda:N"
            )
        if not torch.cuda.is_available():
            raise ImplementationUnavailableError(
                f"torch {torch.__version__} finds no usable NVIDIA GPU; see nvidia-smi"
            )
        index = chosen.partition(":")[2] or "0"
        if not index.isdigit() or int(index) >= torch.cuda.device_count():
            raise ImplementationUnavailableError(
                f"there is no GPU {chosen}; this machine has {torch.cuda.device_count()}"
            )
        return torch.device("cuda", int(index))
