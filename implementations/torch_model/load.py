"""Build openai-whisper's PyTorch model from a checkpoint, on a device and in a dtype."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from whisper.model import ModelDimensions as WhisperDimensions
from whisper.model import Whisper

from implementations.base import AUTO
from implementations.errors import ImplementationUnavailableError
from weights.checkpoint import Array, Checkpoint

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def build_model(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, *, with_encoder: bool = True
) -> Whisper:
    """Openai-whisper's model with the checkpoint's weights, ready to run."""
    with _WithoutRandomWeights():
        model = Whisper(WhisperDimensions(**dataclasses.asdict(checkpoint.dims)))
    if not with_encoder:
        model.encoder = torch.nn.Identity()
    state = {
        name: _tensor(array).to(device, _parameter_dtype(name, array, dtype))
        for name, array in checkpoint.tensors.items()
        if with_encoder or not name.startswith("encoder.")
    }
    model.load_state_dict(state, assign=True)
    model.register_buffer("alignment_heads", _alignment_heads(checkpoint), persistent=False)
    return model.eval().requires_grad_(requires_grad=False).to(device)


def choose_dtype(name: str | None, default: str) -> torch.dtype:
    """The torch dtype of that name.

    Raises:
        ImplementationUnavailableError: PyTorch's Whisper does not run in it.
    """
    dtype = DTYPES.get(default if name in {None, AUTO} else name)
    if dtype is None:
        raise ImplementationUnavailableError(
            f"the PyTorch model does not run in {name}; choose one of {', '.join(DTYPES)}"
        )
    return dtype


def find_gpu(name: str) -> torch.device:
    """The GPU of that name, `cuda` or `cuda:N`.

    Raises:
        ImplementationUnavailableError: PyTorch finds no GPU, or not that one.
    """
    if not torch.cuda.is_available():
        raise ImplementationUnavailableError(
            f"torch {torch.__version__} finds no usable NVIDIA GPU; see nvidia-smi"
        )
    index = name.partition(":")[2] or "0"
    if not index.isdigit() or int(index) >= torch.cuda.device_count():
        raise ImplementationUnavailableError(
            f"there is no GPU {name}; this machine has {torch.cuda.device_count()}"
        )
    # cuDNN's attention would plan anew, for 50 ms, for each length that the text comes to have.
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)
    return torch.device("cuda", int(index))


class _WithoutRandomWeights(TorchFunctionMode):
    """Leaves new weights unset, so that their memory is never touched before it is replaced."""

    _RANDOM = frozenset({"uniform_", "normal_", "kaiming_uniform_"})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (PyTorch's own signature)
        """Run every function but those that draw random numbers."""
        del types
        named = kwargs or {}
        if func.__name__ in self._RANDOM:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def _parameter_dtype(name: str, array: Array, dtype: torch.dtype) -> torch.dtype:
    """Products run in `dtype`; norms and positions stay in float32, as upstream computes them."""
    is_product = array.ndim >= 2 and not name.endswith("positional_embedding")
    return dtype if is_product else torch.float32


def _tensor(array: Array) -> torch.Tensor:
    """A tensor of a checkpoint's array; bfloat16 travels as its bits, which numpy cannot name."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, copy=True))


def _alignment_heads(checkpoint: Checkpoint) -> torch.Tensor:
    """The checkpoint's alignment heads as upstream keeps them: a sparse mask over all heads."""
    heads = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
    for layer, head in checkpoint.alignment_heads:
        heads[layer, head] = True
    return heads.to_sparse()
