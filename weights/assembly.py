"""Assembly of a `Checkpoint` from tensors: sizes, completeness, alignment heads, model name.

The last step of every reader. It depends on no file format.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weights.checkpoint import Array, Checkpoint
from weights.dims import ModelDimensions
from weights.errors import WeightsError
from weights.models import NAMED_MODELS, AlignmentHeads
from weights.names import check_names_and_shapes, count_layers

_HEAD_DIM = 64
_N_FINGERPRINT_NUMBERS = 64
_MAX_JSON_BYTES = 16 * 2**20


def assemble(
    source: Path,
    tensors: Mapping[str, Array],
    *,
    n_audio_head: int | None = None,
    n_text_head: int | None = None,
    alignment_heads: AlignmentHeads | None = None,
) -> Checkpoint:
    """Checks tensors and returns them with their sizes, alignment heads and model name.

    Sizes come from the tensors. A head count that the file does not give is the width over 64, as
    in every published Whisper. The first of these alignment heads that exists is used: those of
    the named model with these tensors; `alignment_heads`; those of the only named model with
    these sizes (fine-tuning keeps them useful); openai-whisper's default.

    Args:
        source: File of the tensors, for messages.
        tensors: Arrays under canonical names.
        n_audio_head: Heads of the encoder, if the file gives them.
        n_text_head: Heads of the decoder, if the file gives them.
        alignment_heads: Alignment heads, if they came with the file.

    Raises:
        WeightsError: The tensors are not those of a complete Whisper model.
    """
    try:
        dims = _dims_of(tensors, n_audio_head, n_text_head)
        check_names_and_shapes(tensors, dims)
        _check_numbers(tensors)
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from error
    model_name = _name_of(tensors, dims)
    if model_name is not None:
        alignment_heads = NAMED_MODELS[model_name].alignment_heads
    elif not _fits(alignment_heads, dims):
        alignment_heads = _heads_by_size(dims)
    return Checkpoint(dims, tensors, alignment_heads or (), source, model_name)


def read_alignment_heads(config: Path) -> AlignmentHeads | None:
    """Returns the `alignment_heads` of a JSON file, or None if it has none."""
    heads = read_json(config).get("alignment_heads")
    if not isinstance(heads, list):
        return None
    pairs = [tuple(pair) for pair in heads if isinstance(pair, list) and len(pair) == 2]
    return tuple((layer, head) for layer, head in pairs if _is_count(layer) and _is_count(head))


def read_json(path: Path) -> dict[str, object]:
    """Returns the JSON object in a small file; empty if the file is absent or unusable."""
    content = read_json_value(path)
    return content if isinstance(content, dict) else {}


def read_json_value(path: Path) -> object:
    """Returns the JSON value in a small file; None if the file is absent or unusable."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_JSON_BYTES:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def fingerprint(tensors: Mapping[str, Array]) -> str:
    """Returns the sha256 of the first numbers of every tensor in float16, whatever the file format.

    Encoder positions are left out: formats round them differently. One page of each tensor is
    read. Any fine-tuning, and quantisation, gives another fingerprint.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if name != "encoder.positional_embedding":
            first = tensors[name].reshape(-1)[:_N_FINGERPRINT_NUMBERS]
            with np.errstate(all="ignore"):  # values beyond float16 belong to no named model
                digest.update(first.astype("<f2").tobytes())
    return digest.hexdigest()


def _dims_of(
    tensors: Mapping[str, Array], n_audio_head: int | None, n_text_head: int | None
) -> ModelDimensions:
    n_audio_state, n_mels, _ = _shape(tensors, "encoder.conv1.weight", rank=3)
    n_audio_ctx, _ = _shape(tensors, "encoder.positional_embedding", rank=2)
    n_vocab, n_text_state = _shape(tensors, "decoder.token_embedding.weight", rank=2)
    n_text_ctx, _ = _shape(tensors, "decoder.positional_embedding", rank=2)
    if n_audio_state != n_text_state:
        raise WeightsError(f"encoder width {n_audio_state} is not decoder width {n_text_state}")
    return ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=n_audio_ctx,
        n_audio_state=n_audio_state,
        n_audio_head=_n_head(n_audio_head, n_audio_state),
        n_audio_layer=count_layers(tensors, "encoder"),
        n_vocab=n_vocab,
        n_text_ctx=n_text_ctx,
        n_text_state=n_text_state,
        n_text_head=_n_head(n_text_head, n_text_state),
        n_text_layer=count_layers(tensors, "decoder"),
    )


def _shape(tensors: Mapping[str, Array], name: str, rank: int) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsError(f"not a Whisper model: it has no {name}")
    shape = tensors[name].shape
    if len(shape) != rank or 0 in shape:
        raise WeightsError(f"not a Whisper model: {name} has shape {list(shape)}")
    return shape


def _n_head(declared: int | None, n_state: int) -> int:
    n_head = n_state // _HEAD_DIM if declared is None else declared
    if n_head < 1 or n_state % n_head:
        raise WeightsError(f"a width of {n_state} cannot be split into {n_head} attention heads")
    return n_head


def _check_numbers(tensors: Mapping[str, Array]) -> None:
    for name, array in tensors.items():
        if not np.issubdtype(array.dtype, np.floating):
            raise WeightsError(f"{name} holds {array.dtype} where float numbers should be")


def _name_of(tensors: Mapping[str, Array], dims: ModelDimensions) -> str | None:
    candidates = [
        model for model in NAMED_MODELS.values() if model.dims == dims and model.fingerprint
    ]
    if not candidates:
        return None
    actual = fingerprint(tensors)
    return next((model.name for model in candidates if model.fingerprint == actual), None)


def _heads_by_size(dims: ModelDimensions) -> AlignmentHeads:
    same_size = {model.name: model for model in NAMED_MODELS.values() if model.dims == dims}
    if len(same_size) == 1:
        return next(iter(same_size.values())).alignment_heads
    return default_alignment_heads(dims)


def default_alignment_heads(dims: ModelDimensions) -> AlignmentHeads:
    """Returns openai-whisper's default: all heads of the upper half of the decoder's layers."""
    upper_half = range(dims.n_text_layer // 2, dims.n_text_layer)
    return tuple((layer, head) for layer in upper_half for head in range(dims.n_text_head))


def _fits(heads: AlignmentHeads | None, dims: ModelDimensions) -> bool:
    return bool(heads) and all(
        layer < dims.n_text_layer and head < dims.n_text_head for layer, head in heads or ()
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
