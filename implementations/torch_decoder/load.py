"""Give the decoder a checkpoint's weights, on a device and in a dtype."""

import torch

from implementations.torch_decoder.decoder import TextDecoder
from implementations.torch_tensors import as_tensor
from weights.checkpoint import Checkpoint

PREFIX = "decoder."
"""Of the decoder's weights in a checkpoint."""


def load_decoder(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> TextDecoder:
    """The decoder, ready to run; of the checkpoint's arrays none is held on to."""
    decoder = TextDecoder(checkpoint.dims)
    state = {
        name.removeprefix(PREFIX): as_tensor(array, device, _parameter_dtype(name, dtype))
        for name, array in checkpoint.tensors.items()
        if name.startswith(PREFIX)
    }
    decoder.load_state_dict(state, assign=True)
    return decoder.eval().requires_grad_(requires_grad=False)


def _parameter_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """Norms and positions stay in float32, as upstream computes them."""
    holder = name.rpartition(".")[0]
    is_wide = holder.endswith("ln") or name.endswith("positional_embedding")
    return torch.float32 if is_wide else dtype
