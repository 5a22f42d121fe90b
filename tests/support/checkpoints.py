"""Small random Whisper checkpoints, written in every format that the readers know.

The foreign names are spelled out here a second time, apart from `weights.names`, so that a wrong
entry there does not pass unseen.
"""

import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from weights.checkpoint import Array
from weights.ctranslate2 import sinusoids
from weights.dims import ModelDimensions
from weights.names import expected_shapes

Tensors = dict[str, Array]

SMALL_DIMS = ModelDimensions(
    n_mels=80,
    n_audio_ctx=1500,
    n_audio_state=16,
    n_audio_head=2,
    n_audio_layer=2,
    n_vocab=51864,
    n_text_ctx=448,
    n_text_state=16,
    n_text_head=2,
    n_text_layer=1,
)
"""Real input and output sizes around an encoder of two layers and a decoder of one, width 16."""

_HF_TOP = {
    "encoder.positional_embedding": "model.encoder.embed_positions.weight",
    "encoder.ln_post.weight": "model.encoder.layer_norm.weight",
    "encoder.ln_post.bias": "model.encoder.layer_norm.bias",
    "decoder.token_embedding.weight": "model.decoder.embed_tokens.weight",
    "decoder.positional_embedding": "model.decoder.embed_positions.weight",
    "decoder.ln.weight": "model.decoder.layer_norm.weight",
    "decoder.ln.bias": "model.decoder.layer_norm.bias",
}
_HF_LAYER = (
    (".blocks.", ".layers."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    (".mlp_ln.", ".final_layer_norm."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
)


def random_tensors(
    dims: ModelDimensions = SMALL_DIMS, *, seed: int = 0, dtype: Any = np.float16
) -> Tensors:
    """Random weights of a size that keeps activations tame; encoder positions are sinusoids."""
    generator = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, shape in expected_shapes(dims).items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 100
        numbers = generator.standard_normal(shape, np.float32) / np.sqrt(fan_in)
        is_norm_scale = name.endswith(("ln.weight", "ln_post.weight"))
        tensors[name] = (numbers + float(is_norm_scale)).astype(dtype)
    tensors["encoder.positional_embedding"] = sinusoids(dims.n_audio_ctx, dims.n_audio_state)
    return tensors


def write_openai(path: Path, dims: ModelDimensions | None, tensors: Tensors) -> Path:
    """OpenAI's layout; without `dims`, the state dict alone."""
    state = {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}
    torch.save(state if dims is None else {"dims": asdict(dims), "model_state_dict": state}, path)
    return path


def huggingface_name(name: str) -> str:
    if ".blocks." not in name:
        return _HF_TOP.get(name, f"model.{name}")
    for ours, theirs in _HF_LAYER:
        name = name.replace(ours, theirs)
    return f"model.{name}"


def write_huggingface(
    folder: Path,
    dims: ModelDimensions,
    tensors: Tensors,
    *,
    n_shards: int = 1,
    bare: bool = False,
    bfloat16: bool = False,
) -> Path:
    """A folder as `save_pretrained` leaves it: one file, or an index and several."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        huggingface_name(name).removeprefix("model." if bare else ""): torch.from_numpy(
            np.array(array)
        )
        for name, array in tensors.items()
    }
    if bfloat16:
        state = {name: tensor.to(torch.bfloat16) for name, tensor in state.items()}
    config = {
        "encoder_attention_heads": dims.n_audio_head,
        "decoder_attention_heads": dims.n_text_head,
    }
    (folder / "config.json").write_text(json.dumps(config))
    if n_shards == 1:
        save_file(state, folder / "model.safetensors")
        return folder
    weight_map: dict[str, str] = {}
    for shard in range(n_shards):
        file_name = f"model-{shard + 1:05}-of-{n_shards:05}.safetensors"
        part = dict(list(state.items())[shard::n_shards])
        save_file(part, folder / file_name)
        weight_map |= dict.fromkeys(part, file_name)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_ctranslate2(
    folder: Path, dims: ModelDimensions, tensors: Tensors, *, quantisation: str = ""
) -> Path:
    """A folder with `model.bin`; `quantisation` is empty, `int8` or `int16`."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = ctranslate2_variables(dims, tensors)
    if quantisation:
        for name, array in list(variables.items()):
            if name.endswith("/weight"):
                quantised, scale = _quantise(array, quantisation)
                variables |= {name: quantised, f"{name}_scale": scale}
    (folder / "model.bin").write_bytes(ctranslate2_bytes(variables))
    return folder


def ctranslate2_variables(dims: ModelDimensions, tensors: Tensors) -> Tensors:
    half = tensors["decoder.ln.weight"].dtype
    variables: Tensors = {
        "decoder/num_heads": np.asarray(dims.n_text_head, np.int16),
        "encoder/num_heads": np.asarray(dims.n_audio_head, np.int16),
        "decoder/pre_norm": np.asarray(1, np.int8),
        "encoder/position_encodings/encodings": tensors["encoder.positional_embedding"].astype(
            half
        ),
        "decoder/position_encodings/encodings": tensors["decoder.positional_embedding"],
        "decoder/embeddings/weight": tensors["decoder.token_embedding.weight"],
    }
    for conv in ("encoder.conv1", "encoder.conv2"):
        for leaf in ("weight", "bias"):
            variables[f"{conv}.{leaf}".replace(".", "/")] = tensors[f"{conv}.{leaf}"]
    _add_norm(variables, "encoder/layer_norm", tensors, "encoder.ln_post")
    _add_norm(variables, "decoder/layer_norm", tensors, "decoder.ln")
    for stack, n_layer in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        for layer in range(n_layer):
            _add_layer(variables, f"{stack}/layer_{layer}", tensors, f"{stack}.blocks.{layer}")
    return variables


def _add_layer(variables: Tensors, theirs: str, tensors: Tensors, ours: str) -> None:
    _add_norm(variables, f"{theirs}/self_attention/layer_norm", tensors, f"{ours}.attn_ln")
    qkv = [f"{ours}.attn.{projection}" for projection in ("query", "key", "value")]
    _add_linear(variables, f"{theirs}/self_attention/linear_0", tensors, qkv)
    _add_linear(variables, f"{theirs}/self_attention/linear_1", tensors, [f"{ours}.attn.out"])
    if theirs.startswith("decoder"):
        cross = f"{ours}.cross_attn"
        _add_norm(variables, f"{theirs}/attention/layer_norm", tensors, f"{cross}_ln")
        _add_linear(variables, f"{theirs}/attention/linear_0", tensors, [f"{cross}.query"])
        cross_kv = [f"{cross}.key", f"{cross}.value"]
        _add_linear(variables, f"{theirs}/attention/linear_1", tensors, cross_kv)
        _add_linear(variables, f"{theirs}/attention/linear_2", tensors, [f"{cross}.out"])
    _add_norm(variables, f"{theirs}/ffn/layer_norm", tensors, f"{ours}.mlp_ln")
    _add_linear(variables, f"{theirs}/ffn/linear_0", tensors, [f"{ours}.mlp.0"])
    _add_linear(variables, f"{theirs}/ffn/linear_1", tensors, [f"{ours}.mlp.2"])


def _add_norm(variables: Tensors, theirs: str, tensors: Tensors, ours: str) -> None:
    variables[f"{theirs}/gamma"] = tensors[f"{ours}.weight"]
    variables[f"{theirs}/beta"] = tensors[f"{ours}.bias"]


def _add_linear(variables: Tensors, theirs: str, tensors: Tensors, ours: list[str]) -> None:
    weights = [tensors[f"{name}.weight"] for name in ours]
    biases = [
        tensors.get(f"{name}.bias", np.zeros(len(weight), weight.dtype))
        for name, weight in zip(ours, weights, strict=True)
    ]
    variables[f"{theirs}/weight"] = np.concatenate(weights)
    variables[f"{theirs}/bias"] = np.concatenate(biases)


def _quantise(array: Array, quantisation: str) -> tuple[Array, Array]:
    """Quantises as CTranslate2's converter: by rows to int8, or as a whole to int16."""
    rows = array.astype(np.float32).reshape(len(array), -1)
    if quantisation == "int8":
        scale = 127.0 / np.abs(rows).max(axis=1)
        return np.rint(rows * scale[:, None]).astype(np.int8).reshape(array.shape), scale
    whole = np.float32(1024.0 / np.abs(rows).max())
    return np.rint(rows * whole).astype(np.int16).reshape(array.shape), np.asarray(whole)


def ctranslate2_bytes(variables: Tensors, *, version: int = 6, spec: str = "WhisperSpec") -> bytes:
    ids = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    chunks = [struct.pack("<I", version), _string(spec), struct.pack("<II", 3, len(variables))]
    for name, array in variables.items():
        data = np.ascontiguousarray(array).tobytes()
        chunks += [
            _string(name),
            struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape),
            struct.pack("<BI", ids[array.dtype.name], len(data)),
            data,
        ]
    aliases = {
        name.replace("embeddings", "projection"): name
        for name in variables
        if name.startswith("decoder/embeddings/weight")
    }
    chunks.append(struct.pack("<I", len(aliases)))
    chunks += [_string(alias) + _string(name) for alias, name in aliases.items()]
    return b"".join(chunks)


def _string(text: str) -> bytes:
    encoded = text.encode() + b"\0"
    return struct.pack("<H", len(encoded)) + encoded
