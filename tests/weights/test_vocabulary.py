"""Vocabularies are never guessed by size: files, tensors and mel bands decide, or it is an error.

And what comes in PyTorch's files besides whole models under plain names.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support import loaded
from tests.support.checkpoints import (
    SMALL_DIMS,
    Tensors,
    huggingface_name,
    random_tensors,
    write_ctranslate2,
    write_huggingface,
    write_openai,
)
from weights import resolve
from weights.checkpoint import Checkpoint
from weights.errors import WeightsError

EMBEDDING = "decoder.token_embedding.weight"
VOCABULARIES = {
    51864: get_tokenizer(False),
    51865: get_tokenizer(True),
    51866: get_tokenizer(True, num_languages=100),
}


def read(path: Path) -> Checkpoint:
    return resolve.load(str(path), offline=True)


def with_rows(tensors: Tensors, n_more: int) -> Tensors:
    """Tensors with more rows in the embedding, as adding tokens leaves them: the mean of all."""
    rows = np.array(tensors[EMBEDDING])
    mean = rows.mean(0, keepdims=True, dtype=np.float32).astype(rows.dtype)
    return {**tensors, EMBEDDING: np.concatenate([rows, np.repeat(mean, n_more, 0)])}


def write_model(folder: Path, n_vocab: int, n_mels: int = 80) -> Path:
    dims = replace(SMALL_DIMS, n_vocab=n_vocab, n_mels=n_mels)
    return write_huggingface(folder, dims, random_tensors(dims))


def files_that_tell(size: int) -> dict[str, object]:
    """Files of Hugging Face and CTranslate2, each of which declares the vocabulary."""
    tokenizer = VOCABULARIES[size]
    special = tokenizer.special_tokens
    words = [""] * size
    for content, token in special.items():
        words[token] = content
    return {
        "added_tokens.json": special,
        "tokenizer_config.json": {
            "added_tokens_decoder": {str(token): {"content": c} for c, token in special.items()}
        },
        "tokenizer.json": {"added_tokens": [{"id": t, "content": c} for c, t in special.items()]},
        "vocabulary.json": words,
        "generation_config.json": {"no_timestamps_token_id": tokenizer.no_timestamps},
    }


@pytest.mark.parametrize("name", list(files_that_tell(51864)))
@pytest.mark.parametrize(
    ("size", "n_vocab", "n_mels"),
    [(51864, 51865, 80), (51864, 51872, 80), (51865, 51866, 80), (51866, 51968, 128)],
)
def test_files_beside_the_weights_declare_the_vocabulary(
    tmp_path: Path, name: str, size: int, n_vocab: int, n_mels: int
) -> None:
    folder = write_model(tmp_path / "model", n_vocab, n_mels)
    (folder / name).write_text(json.dumps(files_that_tell(size)[name]))
    checkpoint = read(folder)
    assert checkpoint.dims.n_vocab == len(checkpoint.tensors[EMBEDDING]) == size
    assert checkpoint.dims.is_multilingual == (size != 51864)
    assert f"{n_vocab - size} tokens after Whisper's {size}" in checkpoint.notes[0]


@pytest.mark.parametrize(("start", "size"), [(50257, 51864), (50258, 51865)])
def test_configuration_is_the_last_declaration(tmp_path: Path, start: int, size: int) -> None:
    folder = write_model(tmp_path / "model", 51870)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"decoder_start_token_id": start}))
    assert read(folder).dims.n_vocab == size


@pytest.mark.parametrize(("n_vocab", "n_mels"), [(51864, 80), (51865, 80), (51866, 128)])
def test_published_sizes_are_recognised(tmp_path: Path, n_vocab: int, n_mels: int) -> None:
    checkpoint = read(write_model(tmp_path / "model", n_vocab, n_mels))
    assert (checkpoint.dims.n_vocab, checkpoint.notes) == (n_vocab, ())


@pytest.mark.parametrize(
    ("n_vocab", "n_mels"),
    [(51866, 80), (51867, 80), (51968, 80), (51865, 128), (51867, 128), (300, 80), (51863, 80)],
)
def test_other_sizes_without_a_declaration_are_an_error(
    tmp_path: Path, n_vocab: int, n_mels: int
) -> None:
    folder = write_model(tmp_path / "model", n_vocab, n_mels)
    with pytest.raises(WeightsError, match=f"{n_vocab} tokens with {n_mels} mel bands"):
        read(folder)


def test_other_sizes_are_refused_in_every_format(tmp_path: Path) -> None:
    dims = replace(SMALL_DIMS, n_vocab=51866)
    tensors = random_tensors(dims)
    for path in (
        write_openai(tmp_path / "a.pt", dims, tensors),
        write_ctranslate2(tmp_path / "ct2", dims, tensors),
    ):
        with pytest.raises(WeightsError, match="no vocabulary of Whisper's"):
            read(path)


def test_an_embedding_smaller_than_its_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 51864)
    (folder / "added_tokens.json").write_text(json.dumps(VOCABULARIES[51865].special_tokens))
    with pytest.raises(WeightsError, match="tell of 51865 tokens, and its embedding has 51864"):
        read(folder)


def test_a_tokenizer_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 51865)
    (folder / "added_tokens.json").write_text(json.dumps({"<|notimestamps|>": 32000}))
    with pytest.raises(WeightsError, match=r"added_tokens.json beside it .* none of Whisper's"):
        read(folder)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"added_tokens": 3}', "null", '"<|"', "[[]]"])
def test_files_without_a_declaration_are_skipped(tmp_path: Path, content: str) -> None:
    folder = write_model(tmp_path / "model", 51865)
    for name in files_that_tell(51865):
        (folder / name).write_text(content)
    assert read(folder).dims.n_vocab == 51865


@pytest.mark.parametrize(("name", "n_more"), [("tiny.en", 1), ("tiny.en", 8), ("base", 103)])
def test_a_named_model_with_more_rows_is_that_model(tmp_path: Path, name: str, n_more: int) -> None:
    """One example: tiny.en with one more has as many tokens as a multilingual model."""
    named = loaded.checkpoint(name)
    tensors = with_rows({k: np.array(v) for k, v in named.tensors.items()}, n_more)
    checkpoint = read(write_huggingface(tmp_path / "more", named.dims, tensors))
    assert (checkpoint.dims, checkpoint.model_name) == (named.dims, name)
    assert checkpoint.alignment_heads == named.alignment_heads
    np.testing.assert_array_equal(checkpoint.tensors[EMBEDDING], named.tensors[EMBEDDING])


def write_shards(folder: Path, tensors: Tensors, prefix: str = "") -> Path:
    """`pytorch_model-0000N-of-00003.bin` with their index, and a configuration."""
    folder.mkdir()
    state = {
        prefix + huggingface_name(name): torch.from_numpy(np.array(array))
        for name, array in tensors.items()
    }
    weight_map: dict[str, str] = {}
    for shard in range(3):
        file_name = f"pytorch_model-{shard + 1:05}-of-00003.bin"
        part = dict(list(state.items())[shard::3])
        torch.save(part, folder / file_name)
        weight_map |= dict.fromkeys(part, file_name)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    config = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("prefix", ["", "module.", "base_model.model.", "_orig_mod.module."])
def test_shards_of_pytorch_and_names_of_wrappers(tmp_path: Path, prefix: str) -> None:
    tensors = random_tensors(SMALL_DIMS)
    checkpoint = read(write_shards(tmp_path / "sharded", tensors, prefix))
    assert checkpoint.dims == SMALL_DIMS
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], array)


def test_missing_shard_is_an_error(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "sharded", random_tensors(SMALL_DIMS))
    (folder / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(WeightsError, match=r"pytorch_model-00002-of-00003\.bin"):
        read(folder)


def test_a_shard_that_runs_something_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "sharded", random_tensors(SMALL_DIMS))
    torch.save({"x": print}, folder / "pytorch_model-00001-of-00003.bin")
    with pytest.raises(WeightsError, match="it wants to run"):
        read(folder)


def test_one_pytorch_file_takes_its_heads_from_the_configuration(tmp_path: Path) -> None:
    """SMALL_DIMS has a width of 16, of which heads of 64 cannot be made."""
    tensors = random_tensors(SMALL_DIMS)
    folder = write_shards(tmp_path / "one", tensors)
    for path in folder.glob("pytorch_model*"):
        path.unlink()
    state = {huggingface_name(n): torch.from_numpy(np.array(a)) for n, a in tensors.items()}
    torch.save(state, folder / "pytorch_model.bin")
    assert read(folder).dims == SMALL_DIMS


@pytest.mark.parametrize("is_folder", [True, False])
def test_an_adapter_is_named(tmp_path: Path, is_folder: bool) -> None:
    name = "base_model.model.model.encoder.layers.0.self_attn.q_proj.lora_A.weight"
    path = tmp_path / ("adapter_model.bin" if is_folder else "tuned.pt")
    torch.save({name: torch.zeros(2, 2)}, path)
    config = {"base_model_name_or_path": "openai/whisper-small"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"an adapter .* base model \(openai/whisper-small\)"):
        read(tmp_path if is_folder else path)
