"""`cpu`: openai-whisper's PyTorch model on the processor."""

from typing import ClassVar

import torch

from implementations.errors import ImplementationUnavailableError
from implementations.options import EXACT
from implementations.torch_model.implementation import TorchImplementation


class CpuImplementation(TorchImplementation):
    """The reference implementation, with which the others are compared."""

    name: ClassVar[str] = "cpu"
    default_dtype: ClassVar[str] = EXACT

    @classmethod
    def choose_device(cls, device: str | None) -> torch.device:
        """Returns the CPU.

        Raises:
            ImplementationUnavailableError: Another device was given.
        """
        if device not in (None, "cpu"):
            raise ImplementationUnavailableError(
                f"implementation cpu does not run on {device}; drop --device or use --impl cuda"
            )
        return torch.device("cpu")
