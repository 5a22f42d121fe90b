"""Canonical tensor names (OpenAI's) with their shapes, and one table per foreign format.

It translates names and reports missing, unexpected or wrongly shaped tensors. It reads no file
and changes no number.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from weights.checkpoint import Array
from weights.dims import ModelDimensions
from weights.errors import WeightsError

Shape = tuple[int, ...]

_MAX_NAMES_IN_ERRORS = 3
_N_NAME_CHARACTERS = 120

_BLOCK_NAME = re.compile(r"(?P<stack>encoder|decoder)\.blocks\.(?P<layer>\d+)\.")
_HUGGINGFACE_LAYER = re.compile(
    r"(?P<stack>encoder|decoder)\.layers\.(?P<layer>\d+)\.(?P<module>.+)"
)
_CTRANSLATE2_LAYER = re.compile(r"(?P<stack>encoder|decoder)/layer_(?P<layer>\d+)/(?P<module>.+)")

HUGGINGFACE_MODULES: Mapping[str, str] = {
    "encoder.conv1": "encoder.conv1",
    "encoder.conv2": "encoder.conv2",
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "encoder.layer_norm": "encoder.ln_post",
    "decoder.embed_tokens": "decoder.token_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "decoder.layer_norm": "decoder.ln",
}
"""Modules outside the layers (`.weight` and `.bias` keep their name); two are whole tensors."""

HUGGINGFACE_LAYER_MODULES: Mapping[str, str] = {
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn.q_proj": "cross_attn.query",
    "encoder_attn.k_proj": "cross_attn.key",
    "encoder_attn.v_proj": "cross_attn.value",
    "encoder_attn.out_proj": "cross_attn.out",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "final_layer_norm": "mlp_ln",
}

CTRANSLATE2_MODULES: Mapping[str, tuple[str, ...]] = {
    "encoder/conv1": ("encoder.conv1",),
    "encoder/conv2": ("encoder.conv2",),
    "encoder/position_encodings/encodings": ("encoder.positional_embedding",),
    "encoder/layer_norm": ("encoder.ln_post",),
    "decoder/embeddings": ("decoder.token_embedding",),
    "decoder/position_encodings/encodings": ("decoder.positional_embedding",),
    "decoder/layer_norm": ("decoder.ln",),
}
"""Modules outside the layers; a tensor with several targets holds them in order, by rows."""

CTRANSLATE2_LAYER_MODULES: Mapping[str, tuple[str, ...]] = {
    "self_attention/layer_norm": ("attn_ln",),
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "self_attention/linear_1": ("attn.out",),
    "attention/layer_norm": ("cross_attn_ln",),
    "attention/linear_0": ("cross_attn.query",),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
    "attention/linear_2": ("cross_attn.out",),
    "ffn/layer_norm": ("mlp_ln",),
    "ffn/linear_0": ("mlp.0",),
    "ffn/linear_1": ("mlp.2",),
}

_CTRANSLATE2_LEAVES: Mapping[str, str] = {
    "weight": ".weight",
    "bias": ".bias",
    "gamma": ".weight",
    "beta": ".bias",
}


def expected_shapes(dims: ModelDimensions) -> dict[str, Shape]:
    """Returns the shape of every tensor of a Whisper model with these sizes, by canonical name.

    Source: the modules of openai-whisper's `whisper/model.py`.
    """
    n_audio_state, n_text_state = dims.n_audio_state, dims.n_text_state
    shapes: dict[str, Shape] = {
        "encoder.conv1.weight": (n_audio_state, dims.n_mels, 3),
        "encoder.conv1.bias": (n_audio_state,),
        "encoder.conv2.weight": (n_audio_state, n_audio_state, 3),
        "encoder.conv2.bias": (n_audio_state,),
        "encoder.positional_embedding": (dims.n_audio_ctx, n_audio_state),
        "encoder.ln_post.weight": (n_audio_state,),
        "encoder.ln_post.bias": (n_audio_state,),
        "decoder.token_embedding.weight": (dims.n_vocab, n_text_state),
        "decoder.positional_embedding": (dims.n_text_ctx, n_text_state),
        "decoder.ln.weight": (n_text_state,),
        "decoder.ln.bias": (n_text_state,),
    }
    for layer in range(dims.n_audio_layer):
        prefix = f"encoder.blocks.{layer}."
        shapes.update(_block_shapes(prefix, n_audio_state, attentions=("attn",)))
    for layer in range(dims.n_text_layer):
        prefix = f"decoder.blocks.{layer}."
        shapes.update(_block_shapes(prefix, n_text_state, attentions=("attn", "cross_attn")))
    return shapes


def _block_shapes(
    prefix: str, n_state: int, attentions: tuple[str, ...]
) -> Iterator[tuple[str, Shape]]:
    for attention in attentions:
        for projection in ("query", "key", "value", "out"):
            yield f"{prefix}{attention}.{projection}.weight", (n_state, n_state)
            if projection != "key":
                yield f"{prefix}{attention}.{projection}.bias", (n_state,)
        yield f"{prefix}{attention}_ln.weight", (n_state,)
        yield f"{prefix}{attention}_ln.bias", (n_state,)
    yield f"{prefix}mlp.0.weight", (4 * n_state, n_state)
    yield f"{prefix}mlp.0.bias", (4 * n_state,)
    yield f"{prefix}mlp.2.weight", (n_state, 4 * n_state)
    yield f"{prefix}mlp.2.bias", (n_state,)
    yield f"{prefix}mlp_ln.weight", (n_state,)
    yield f"{prefix}mlp_ln.bias", (n_state,)


def from_huggingface(name: str) -> str:
    """Returns the canonical name of a Hugging Face tensor; unknown names stay unchanged."""
    bare = name.removeprefix("model.")
    if bare in HUGGINGFACE_MODULES:
        return HUGGINGFACE_MODULES[bare]
    module, _, leaf = bare.rpartition(".")
    if module in HUGGINGFACE_MODULES:
        return f"{HUGGINGFACE_MODULES[module]}.{leaf}"
    match = _HUGGINGFACE_LAYER.fullmatch(module)
    if match is None or match["module"] not in HUGGINGFACE_LAYER_MODULES:
        return name
    target = HUGGINGFACE_LAYER_MODULES[match["module"]]
    return f"{match['stack']}.blocks.{match['layer']}.{target}.{leaf}"


def from_ctranslate2(name: str) -> tuple[str, ...]:
    """Returns the canonical names in a CTranslate2 variable, in row order.

    An unknown name is returned unchanged.
    """
    if name in CTRANSLATE2_MODULES:
        return CTRANSLATE2_MODULES[name]
    module, _, leaf = name.rpartition("/")
    suffix = _CTRANSLATE2_LEAVES.get(leaf)
    if suffix is None:
        return (name,)
    if module in CTRANSLATE2_MODULES:
        return tuple(target + suffix for target in CTRANSLATE2_MODULES[module])
    match = _CTRANSLATE2_LAYER.fullmatch(module)
    if match is None or match["module"] not in CTRANSLATE2_LAYER_MODULES:
        return (name,)
    prefix = f"{match['stack']}.blocks.{match['layer']}."
    return tuple(prefix + target + suffix for target in CTRANSLATE2_LAYER_MODULES[match["module"]])


def count_layers(names: Iterable[str], stack: str) -> int:
    """Returns the number of layers of `encoder` or `decoder` among canonical names."""
    matches = (_BLOCK_NAME.match(name) for name in names)
    return len({match["layer"] for match in matches if match and match["stack"] == stack})


def check_names_and_shapes(tensors: Mapping[str, Array], dims: ModelDimensions) -> None:
    """Requires exactly the tensors of `dims`, each with its shape.

    Raises:
        WeightsError: Naming the first few missing, unexpected and wrongly shaped tensors, with
            the nearest match of each name.
    """
    expected = expected_shapes(dims)
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    misshapen = [
        f"{name} is {list(array.shape)}, not {list(expected[name])}"
        for name, array in tensors.items()
        if name in expected and array.shape != expected[name]
    ]
    problems = [
        _list_few("missing", missing, others=unexpected),
        _list_few("unexpected", unexpected, others=missing),
        _list_few("of wrong shape", misshapen, others=[]),
    ]
    if any(problems):
        raise WeightsError(f"not a complete Whisper model: {'; '.join(filter(None, problems))}")


def _with_nearest(name: str, candidates: list[str]) -> str:
    nearest = get_close_matches(name, candidates, n=1, cutoff=0.8)
    return f"{name} (nearest: {nearest[0]})" if nearest else name[:_N_NAME_CHARACTERS]


def _list_few(problem: str, entries: list[str], others: list[str]) -> str:
    if not entries:
        return ""
    few = ", ".join(_with_nearest(entry, others) for entry in entries[:_MAX_NAMES_IN_ERRORS])
    more = ", ..." if len(entries) > _MAX_NAMES_IN_ERRORS else ""
    return f"{len(entries)} tensor{'s' * (len(entries) > 1)} {problem} ({few}{more})"
