"""Openai-whisper's PyTorch model built from a checkpoint, on a device and in a dtype."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from whisper.model import ModelDimensions as WhisperDimensions
from whisper.model import Whisper

from implementations.errors import ImplementationUnavailableError
from implementations.options import AUTO
from implementations.torch_tensors import DTYPES, as_tensor
from weights.checkpoint import Array, Checkpoint


def build_model(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Whisper:
    """Returns openai-whisper's model with the checkpoint's weights, ready to run."""
    with _WithoutRandomWeights():
        model = Whisper(WhisperDimensions(**dataclasses.asdict(checkpoint.dims)))
    state = {
        name: as_tensor(array, device, _parameter_dtype(name, array, dtype))
        for name, array in checkpoint.tensors.items()
    }
    model.load_state_dict(state, assign=True)
    model.register_buffer("alignment_heads", _alignment_heads(checkpoint), persistent=False)
    return model.eval().requires_grad_(requires_grad=False).to(device)


def choose_dtype(name: str | None, default: str) -> torch.dtype:
    """Returns the torch dtype of that name.

    Raises:
        ImplementationUnavailableError: PyTorch's Whisper does not run in it.
    """
    dtype = DTYPES.get(default if name in {None, AUTO} else name)
    if dtype is None:
        raise ImplementationUnavailableError(
            f"the PyTorch model does not run in {name}; choose one of {', '.join(DTYPES)}"
        )
    return dtype


class _WithoutRandomWeights(TorchFunctionMode):
    """Mode that leaves new weights unset, so that their memory stays untouched until replaced."""

    _RANDOM = frozenset({"uniform_", "normal_", "kaiming_uniform_"})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (PyTorch's own signature)
        """Runs every function but those that draw random numbers."""
        del types
        named = kwargs or {}
        if func.__name__ in self._RANDOM:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def _parameter_dtype(name: str, array: Array, dtype: torch.dtype) -> torch.dtype:
    """Returns `dtype` for matmul weights, float32 for norms and positions, as upstream does."""
    is_matmul_weight = array.ndim >= 2 and not name.endswith("positional_embedding")
    return dtype if is_matmul_weight else torch.float32


def _alignment_heads(checkpoint: Checkpoint) -> torch.Tensor:
    """Returns the alignment heads as a sparse mask over all heads, as upstream stores them."""
    heads = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
    for layer, head in checkpoint.alignment_heads:
        heads[layer, head] = True
    return heads.to_sparse()
