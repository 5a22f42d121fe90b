"""Loading of a checkpoint's weights into the decoder, on a device and in a dtype."""

import torch

from implementations.torch_decoder.decoder import TextDecoder
from implementations.torch_tensors import as_tensor
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions

PREFIX = "decoder."
"""Prefix of the decoder's weights in a checkpoint."""


def load_decoder(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> TextDecoder:
    """Returns the decoder, ready to run; it keeps no reference to the checkpoint's arrays."""
    decoder = TextDecoder(checkpoint.dims)
    state = {
        name.removeprefix(PREFIX): as_tensor(array, device, _parameter_dtype(name, dtype))
        for name, array in checkpoint.tensors.items()
        if name.startswith(PREFIX)
    }
    decoder.load_state_dict(state, assign=True)
    return decoder.eval().requires_grad_(requires_grad=False)


def share_decoder(module: torch.nn.Module, dims: ModelDimensions) -> TextDecoder:
    """Returns a decoder over the weights of another module of the same names; none is copied."""
    decoder = TextDecoder(dims)
    decoder.load_state_dict(module.state_dict(), assign=True)
    return decoder.eval().requires_grad_(requires_grad=False)


def _parameter_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """Returns float32 for norms and positions, as upstream computes them, else `dtype`."""
    holder = name.rpartition(".")[0]
    is_wide = holder.endswith("ln") or name.endswith("positional_embedding")
    return torch.float32 if is_wide else dtype
