"""`cuda`: openai-whisper's PyTorch model on an NVIDIA GPU."""

from typing import ClassVar

import torch

from implementations.errors import ImplementationUnavailableError
from implementations.row_decoder import RowDecoder
from implementations.torch_decoder.load import share_decoder
from implementations.torch_decoder.row_decoder import TorchRowDecoder
from implementations.torch_model.implementation import TorchImplementation
from implementations.torch_tensors import find_gpu


class CudaImplementation(TorchImplementation):
    """Half precision by default, as upstream runs on a GPU."""

    name: ClassVar[str] = "cuda"
    default_dtype: ClassVar[str] = "float16"

    def row_decoder(self, n_rows: int) -> RowDecoder:
        """Opens rows in this project's decoder, over the weights of openai-whisper's.

        Upstream's own keeps one text's cache for all of its rows, so that those of several windows
        would have to be of equal length. A single row decodes as `decode`.
        """
        if n_rows == 1:
            return super().row_decoder(n_rows)
        return TorchRowDecoder(share_decoder(self._model.decoder, self.dims), n_rows)

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
