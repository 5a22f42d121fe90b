"""From the names of a state dict to canonical ones, and refusal of what is no whole model."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weights.assembly import read_json
from weights.checkpoint import Array
from weights.errors import WeightsError
from weights.names import from_huggingface

_WRAPPERS = ("module.", "_orig_mod.", "base_model.model.", "model.")
"""Prefixes that DataParallel, torch.compile, PEFT and other modules add to names."""
_ADAPTERS = ("lora_", ".base_layer.", "ia3_", "modules_to_save.", "prompt_encoder")
"""Parts of names that PEFT gives to adapters, and to models with one that is not merged."""
_EMBEDDING, _PROJECTION = "decoder.token_embedding.weight", "proj_out.weight"


def to_canonical(path: Path, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Renames tensors of `path`; names that are canonical already stay.

    Names of wrapping modules are dropped if all tensors have them, and the output projection
    if it repeats the token embedding, as Whisper's does.

    Raises:
        WeightsError: It does not repeat it, two tensors get the same name, or it is an adapter.
    """
    if any(part in name for name in tensors for part in _ADAPTERS):
        raise adapter_error(path)
    renamed = {from_huggingface(name): array for name, array in _unwrapped(tensors).items()}
    if len(renamed) != len(tensors):
        raise WeightsError(f"{path}: holds some tensors twice, under two names each")
    projection = renamed.pop(_PROJECTION, None)
    if projection is not None and not np.array_equal(projection, renamed.get(_EMBEDDING, ())):
        raise WeightsError(f"{path}: {_PROJECTION} is not the token embedding, as in Whisper")
    return renamed


def adapter_error(path: Path) -> WeightsError:
    """Returns the error of a file, or of a folder, with an adapter instead of a whole model."""
    folder = path if path.is_dir() else path.parent
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    named = f" ({base[:80]})" if isinstance(base, str) and base else ""
    return WeightsError(
        f"{path}: an adapter (LoRA), not a whole model: merge it into its base model{named} with "
        "PEFT's merge_and_unload, save that with save_pretrained, and name its folder"
    )


def _unwrapped(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
    """Returns the tensors without the wrappers' names that all of theirs begin with."""
    while tensors:
        wrapper = next((w for w in _WRAPPERS if all(name.startswith(w) for name in tensors)), None)
        if wrapper is None:
            break
        tensors = {name.removeprefix(wrapper): array for name, array in tensors.items()}
    return tensors
