"""One random model written in every format comes back with the same tensors from each."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.checkpoints import (
    SMALL_DIMS,
    Tensors,
    ctranslate2_bytes,
    ctranslate2_variables,
    huggingface_name,
    random_tensors,
    write_ctranslate2,
    write_huggingface,
    write_openai,
)
from weights.checkpoint import Checkpoint
from weights.detect import read_checkpoint
from weights.dims import ModelDimensions
from weights.errors import WeightsError
from weights.models import NAMED_MODELS

DISTILLED = replace(SMALL_DIMS, n_audio_layer=12, n_text_layer=2, n_vocab=300, n_audio_ctx=40)
WIDE = replace(
    DISTILLED, n_audio_state=128, n_text_state=128, n_audio_layer=1, n_text_layer=1, n_text_ctx=9
)
"""Sizes of two heads of 64, so that a file without a number of heads can be read."""


def assert_same(checkpoint: Checkpoint, tensors: Tensors) -> None:
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, array in tensors.items():
        assert checkpoint.tensors[name].dtype == array.dtype, name
        np.testing.assert_array_equal(checkpoint.tensors[name], array, err_msg=name)


@pytest.mark.parametrize("dims", [SMALL_DIMS, DISTILLED], ids=["small", "distilled"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_format_gives_the_same_tensors(
    tmp_path: Path, dims: ModelDimensions, dtype: type[np.floating[Any]]
) -> None:
    tensors = random_tensors(dims, dtype=dtype)
    paths = [
        write_openai(tmp_path / "a.weights", dims, tensors),
        write_ctranslate2(tmp_path / "ct2", dims, tensors),
        tmp_path / "ct2" / "model.bin",
        write_huggingface(tmp_path / "hf", dims, tensors),
        write_huggingface(tmp_path / "bare", dims, tensors, bare=True),
        write_huggingface(tmp_path / "sharded", dims, tensors, n_shards=3),
        tmp_path / "sharded" / "model.safetensors.index.json",
    ]
    for path in paths:
        checkpoint = read_checkpoint(path)
        assert checkpoint.dims == dims
        assert_same(checkpoint, tensors)


def test_state_dict_alone(tmp_path: Path) -> None:
    tensors = random_tensors(WIDE)
    checkpoint = read_checkpoint(write_openai(tmp_path / "a.pt", None, tensors))
    assert checkpoint.dims == WIDE
    assert_same(checkpoint, tensors)


def test_huggingface_names_in_a_pytorch_file(tmp_path: Path) -> None:
    tensors = random_tensors(WIDE)
    theirs = {huggingface_name(name): array for name, array in tensors.items()}
    theirs["proj_out.weight"] = theirs["model.decoder.embed_tokens.weight"]
    write_openai(tmp_path / "pytorch_model.bin", None, theirs)
    assert_same(read_checkpoint(tmp_path), tensors)


def test_strided_and_shared_storages(tmp_path: Path) -> None:
    """Tensors that are views: a transpose, a slice, two of one storage, and a parameter."""
    tensors = random_tensors(WIDE)
    state = {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}
    name = "encoder.blocks.0.attn.out.weight"
    state[name] = state[name].t().contiguous().t()
    biases = torch.cat([state["decoder.ln.bias"], state["decoder.ln.weight"]])
    state["decoder.ln.bias"], state["decoder.ln.weight"] = biases[:128], biases[128:]
    state["encoder.conv1.bias"] = torch.nn.Parameter(state["encoder.conv1.bias"])
    for protocol in (2, 4):
        torch.save(state, tmp_path / "a.pt", pickle_protocol=protocol)
        assert_same(read_checkpoint(tmp_path / "a.pt"), tensors)


@pytest.mark.parametrize(("quantisation", "tolerance"), [("int8", 1 / 254), ("int16", 1 / 1024)])
def test_quantised_ctranslate2(tmp_path: Path, quantisation: str, tolerance: float) -> None:
    tensors = random_tensors(DISTILLED, dtype=np.float32)
    write_ctranslate2(tmp_path, DISTILLED, tensors, quantisation=quantisation)
    checkpoint = read_checkpoint(tmp_path)
    for name, array in tensors.items():
        found = checkpoint.tensors[name]
        assert found.dtype == np.float32
        error = np.abs(found - array).max() / np.abs(array).max()
        assert error <= tolerance * 1.001, name
    quantised = checkpoint.tensors["decoder.token_embedding.weight"]
    assert not np.array_equal(quantised, tensors["decoder.token_embedding.weight"])


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    tensors = random_tensors(DISTILLED, dtype=np.float32)
    rounded = {
        name: torch.from_numpy(array).bfloat16().float().numpy() for name, array in tensors.items()
    }
    assert_same(
        read_checkpoint(write_huggingface(tmp_path / "hf", DISTILLED, tensors, bfloat16=True)),
        rounded,
    )
    state = {name: torch.from_numpy(array).bfloat16() for name, array in tensors.items()}
    torch.save(
        {"dims": {"n_audio_head": 2, "n_text_head": 2}, "model_state_dict": state},
        tmp_path / "a.pt",
    )
    assert_same(read_checkpoint(tmp_path / "a.pt"), rounded)


def test_extra_settings_in_ctranslate2_are_ignored(tmp_path: Path) -> None:
    tensors = random_tensors(DISTILLED)
    variables = ctranslate2_variables(DISTILLED, tensors)
    variables["decoder/some_new_setting"] = np.asarray(1, np.int8)
    (tmp_path / "x").write_bytes(ctranslate2_bytes(variables))
    assert_same(read_checkpoint(tmp_path / "x"), tensors)


def test_trained_encoder_positions_are_unchanged(tmp_path: Path) -> None:
    tensors = random_tensors(DISTILLED)
    shifted = tensors["encoder.positional_embedding"] + np.float32(0.5)
    tensors["encoder.positional_embedding"] = shifted.astype(np.float16)
    assert_same(read_checkpoint(write_ctranslate2(tmp_path, DISTILLED, tensors)), tensors)


class TestAlignmentHeads:
    def test_default_is_the_upper_half(self, tmp_path: Path) -> None:
        tensors = random_tensors(DISTILLED)
        checkpoint = read_checkpoint(write_openai(tmp_path / "a.pt", DISTILLED, tensors))
        assert checkpoint.alignment_heads == ((1, 0), (1, 1))
        assert checkpoint.model_name is None

    def test_heads_beside_the_file(self, tmp_path: Path) -> None:
        tensors = random_tensors(DISTILLED)
        (write_ctranslate2(tmp_path / "c", DISTILLED, tensors) / "config.json").write_text(
            '{"alignment_heads": [[0, 1], [1, 1]]}'
        )
        hf = write_huggingface(tmp_path / "h", DISTILLED, tensors)
        (hf / "generation_config.json").write_text('{"alignment_heads": [[0, 1], [1, 1]]}')
        for folder in (tmp_path / "c", hf):
            assert read_checkpoint(folder).alignment_heads == ((0, 1), (1, 1))

    @pytest.mark.parametrize(
        "text", ['{"alignment_heads": [[7, 0]]}', "[", '{"alignment_heads": 3}']
    )
    def test_useless_heads_beside_the_file(self, tmp_path: Path, text: str) -> None:
        write_ctranslate2(tmp_path, DISTILLED, random_tensors(DISTILLED))
        (tmp_path / "config.json").write_text(text)
        assert read_checkpoint(tmp_path).alignment_heads == ((1, 0), (1, 1))

    def test_same_sizes_as_one_named_model(self, tmp_path: Path) -> None:
        dims = NAMED_MODELS["tiny"].dims
        checkpoint = read_checkpoint(write_openai(tmp_path / "a.pt", dims, random_tensors(dims)))
        assert checkpoint.model_name is None
        assert checkpoint.alignment_heads == NAMED_MODELS["tiny"].alignment_heads


class TestNamesAndShapes:
    def damaged(self, tmp_path: Path, tensors: Tensors) -> str:
        with pytest.raises(WeightsError) as caught:
            read_checkpoint(write_openai(tmp_path / "a.pt", DISTILLED, tensors))
        message = str(caught.value)
        assert message.startswith(str(tmp_path / "a.pt"))
        assert "\n" not in message
        return message

    def test_renamed_tensor_names_its_nearest_match(self, tmp_path: Path) -> None:
        tensors = random_tensors(DISTILLED)
        tensors["decoder.blocks.1.cross_attn.qery.bias"] = tensors.pop(
            "decoder.blocks.1.cross_attn.query.bias"
        )
        message = self.damaged(tmp_path, tensors)
        assert (
            "1 tensor missing (decoder.blocks.1.cross_attn.query.bias "
            "(nearest: decoder.blocks.1.cross_attn.qery.bias))" in message
        )
        assert "1 tensor unexpected" in message

    def test_many_missing_are_counted(self, tmp_path: Path) -> None:
        tensors = {
            name: array
            for name, array in random_tensors(DISTILLED).items()
            if not name.endswith("mlp_ln.weight")
        }
        assert "14 tensors missing" in self.damaged(tmp_path, tensors)

    def test_wrong_shape(self, tmp_path: Path) -> None:
        tensors = random_tensors(DISTILLED)
        tensors["encoder.ln_post.bias"] = tensors["encoder.ln_post.bias"][:15]
        assert "encoder.ln_post.bias is [15], not [16]" in self.damaged(tmp_path, tensors)

    def test_wrong_numbers(self, tmp_path: Path) -> None:
        tensors = random_tensors(DISTILLED)
        tensors["decoder.ln.bias"] = np.zeros(16, np.int32)
        assert "decoder.ln.bias holds int32" in self.damaged(tmp_path, tensors)

    def test_dims_that_are_not_the_tensors(self, tmp_path: Path) -> None:
        tensors = random_tensors(DISTILLED)
        path = write_openai(tmp_path / "a.pt", replace(DISTILLED, n_mels=128), tensors)
        with pytest.raises(WeightsError, match="n_mels 128"):
            read_checkpoint(path)

    def test_impossible_heads(self, tmp_path: Path) -> None:
        path = write_openai(tmp_path / "a.pt", None, random_tensors(DISTILLED))
        with pytest.raises(WeightsError, match="width of 16 cannot be split into 0"):
            read_checkpoint(path)

    def test_untied_projection(self, tmp_path: Path) -> None:
        tensors = random_tensors(DISTILLED)
        tensors["proj_out.weight"] = tensors["decoder.token_embedding.weight"] + np.float16(1)
        assert "proj_out.weight is not the token embedding" in self.damaged(tmp_path, tensors)

    def test_key_bias(self, tmp_path: Path) -> None:
        variables = ctranslate2_variables(DISTILLED, random_tensors(DISTILLED))
        bias = variables["encoder/layer_0/self_attention/linear_0/bias"].copy()
        bias[20] = 1
        variables["encoder/layer_0/self_attention/linear_0/bias"] = bias
        (tmp_path / "model.bin").write_bytes(ctranslate2_bytes(variables))
        with pytest.raises(WeightsError, match=r"encoder.blocks.0.attn.key.bias is not zero"):
            read_checkpoint(tmp_path)
