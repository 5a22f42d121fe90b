"""Build openai-whisper's PyTorch model from a checkpoint, on a device and in a dtype."""

import dataclasses

import numpy as np
import torch
from whisper.model import AudioEncoder, TextDecoder, Whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations.errors import ImplementationUnavailableError
from weights.checkpoint import Array, Checkpoint

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def build_model(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Whisper:
    """Openai-whisper's model with the checkpoint's weights, ready to run."""
    model = _EmptyWhisper(WhisperDimensions(**dataclasses.asdict(checkpoint.dims)))
    state = {
        name: _tensor(array).to(device, _parameter_dtype(name, array, dtype))
        for name, array in checkpoint.tensors.items()
    }
    model.load_state_dict(state, assign=True)
    _make_buffers(model, checkpoint, device)
    return model.eval().requires_grad_(requires_grad=False)


def choose_dtype(name: str | None, default: str) -> torch.dtype:
    """The torch dtype of that name.

    Raises:
        ImplementationUnavailableError: PyTorch's Whisper does not run in it.
    """
    dtype = DTYPES.get(name or default)
    if dtype is None:
        raise ImplementationUnavailableError(
            f"the PyTorch model does not run in {name}; choose one of {', '.join(DTYPES)}"
        )
    return dtype


class _EmptyWhisper(Whisper):
    """Openai-whisper's model without random initial weights, which cost time and memory.

    Its own constructor cannot run on the meta device, because it makes a sparse tensor.
    """

    def __init__(self, dims: WhisperDimensions) -> None:
        torch.nn.Module.__init__(self)
        self.dims = dims
        with torch.device("meta"):
            self.encoder = AudioEncoder(
                dims.n_mels,
                dims.n_audio_ctx,
                dims.n_audio_state,
                dims.n_audio_head,
                dims.n_audio_layer,
            )
            self.decoder = TextDecoder(
                dims.n_vocab,
                dims.n_text_ctx,
                dims.n_text_state,
                dims.n_text_head,
                dims.n_text_layer,
            )


def _parameter_dtype(name: str, array: Array, dtype: torch.dtype) -> torch.dtype:
    """Products run in `dtype`; norms and positions stay in float32, as upstream computes them."""
    is_product = array.ndim >= 2 and not name.endswith("positional_embedding")
    return dtype if is_product else torch.float32


def _tensor(array: Array) -> torch.Tensor:
    """A tensor of a checkpoint's array; bfloat16 travels as its bits, which numpy cannot name."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, copy=True))


def _make_buffers(model: Whisper, checkpoint: Checkpoint, device: torch.device) -> None:
    """Replace the buffers that a checkpoint does not carry, left empty by the meta device."""
    n_text_ctx = checkpoint.dims.n_text_ctx
    mask = torch.full((n_text_ctx, n_text_ctx), -torch.inf, device=device).triu_(1)
    model.decoder.register_buffer("mask", mask, persistent=False)
    heads = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
    for layer, head in checkpoint.alignment_heads:
        heads[layer, head] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
