"""Files of whisper.cpp: every type that is read, real weights, and files that are wrong."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import ggml
from tests.support.checkpoints import SMALL_DIMS, random_tensors, write_ctranslate2
from weights.checkpoint import Checkpoint
from weights.detect import format_of, read_checkpoint
from weights.errors import WeightsError
from weights.ggml_blocks import BLOCK_TYPES, dequantise
from weights.resolve import load

DIMS = replace(SMALL_DIMS, n_audio_state=64, n_text_state=64)
LARGEST_ERROR = {"q8_0": 0.5 / 127, "q5_0": 1 / 16, "q5_1": 1 / 31, "q4_0": 1 / 8, "q4_1": 1 / 15}
"""Error of a number, relative to the largest of its block; the integers of `_1` go from the least
to the largest, those of `_0` are cut at one end."""
HALF = 2.0**-10
"""Error of scales in float16, with a margin."""


def written(folder: Path, kind: str = "f16", *, n_vocab: int = 51864) -> Path:
    dims = replace(DIMS, n_vocab=n_vocab)
    path = folder / "ggml-small.bin"
    path.write_bytes(ggml.ggml_bytes(dims, random_tensors(dims), kind))
    return path


@pytest.mark.parametrize("kind", list(ggml.TYPES))
def test_every_type_gives_the_numbers_within_its_precision(tmp_path: Path, kind: str) -> None:
    tensors = random_tensors(DIMS)
    checkpoint = read_checkpoint(written(tmp_path, kind))
    assert checkpoint.dims == DIMS
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, expected in tensors.items():
        read = checkpoint.tensors[name].astype(np.float32)
        wanted = expected.astype(np.float32)
        is_quantised = expected.ndim == 2 and "positional" not in name and kind in LARGEST_ERROR
        if is_quantised:
            blocks = wanted.reshape(-1, 32)
            largest = 2 * np.abs(blocks).max(1, keepdims=True)  # the span of `_1` is up to twice
            error = np.abs(read.reshape(-1, 32) - blocks)
            assert (error <= largest * (LARGEST_ERROR[kind] + HALF)).all()
            assert error.max() > 0
        else:
            assert np.array_equal(read, wanted)


@pytest.mark.parametrize("n_vocab", [51864, 51865])
def test_both_vocabularies_are_recognised(tmp_path: Path, n_vocab: int) -> None:
    path = written(tmp_path, n_vocab=n_vocab)
    assert format_of(path) == "GGML"
    assert load(str(path)).dims.n_vocab == n_vocab
    assert load(str(tmp_path)).dims.n_vocab == n_vocab  # its folder


def test_files_beside_it_do_not_declare_its_vocabulary(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"no_timestamps_token_id": 50363}')
    assert load(str(path)).dims.n_vocab == 51864


def test_real_weights_in_float16_are_the_named_models(tiny_en: Checkpoint, tmp_path: Path) -> None:
    read = load(str(ggml.write_ggml(tmp_path / "ggml-tiny.en.bin", tiny_en)))
    assert (read.model_name, read.dims) == ("tiny.en", tiny_en.dims)
    assert read.alignment_heads == tiny_en.alignment_heads
    for name, expected in tiny_en.tensors.items():
        wanted = expected.astype(np.float16).astype(np.float32)
        tolerance = 1e-3 if name == "encoder.positional_embedding" else 0  # exact sinusoids there
        assert np.abs(read.tensors[name].astype(np.float32) - wanted).max() <= tolerance


def test_quantised_real_weights_keep_the_alignment_heads(
    tiny_en: Checkpoint, tmp_path: Path
) -> None:
    read = load(str(ggml.write_ggml(tmp_path / "ggml-tiny.en-q5_1.bin", tiny_en, "q5_1")))
    assert read.model_name is None
    assert read.alignment_heads == tiny_en.alignment_heads
    weight = tiny_en.tensors["decoder.blocks.0.mlp.0.weight"].astype(np.float32)
    error = np.abs(read.tensors["decoder.blocks.0.mlp.0.weight"] - weight)
    assert 0 < error.max() <= 2 * np.abs(weight).max() / 31


def test_blocks_are_unpacked_bit_by_bit() -> None:
    """Values by hand: low halves first, the fifth bits in order, offsets added."""
    low, high = np.arange(16, dtype=np.uint8), np.arange(16, dtype=np.uint8)[::-1]
    packed = (low | (high << 4)).tobytes()
    two, half = np.float16(2).tobytes(), np.float16(0.5).tobytes()
    fifth = struct.pack("<I", (1 << 0) | (1 << 31))
    integers = np.concatenate([low, high]).astype(np.float32)
    fives = integers.copy()
    fives[[0, 31]] += 16
    signed = np.arange(-16, 16, dtype=np.int8)
    cases = {
        "q4_0": (two + packed, (integers - 8) * 2),
        "q4_1": (two + half + packed, integers * 2 + 0.5),
        "q5_0": (two + fifth + packed, (fives - 16) * 2),
        "q5_1": (two + half + fifth + packed, fives * 2 + 0.5),
        "q8_0": (two + signed.tobytes(), signed.astype(np.float32) * 2),
    }
    for block_type in BLOCK_TYPES.values():
        block, expected = cases[block_type.name]
        assert len(block) == block_type.n_bytes
        values = dequantise(np.frombuffer(block, np.uint8)[None], block_type)
        assert values is not None
        assert np.array_equal(values[0], expected)


def test_a_scale_that_is_no_number_is_damage(tmp_path: Path) -> None:
    path = written(tmp_path, "q8_0")
    data = bytearray(path.read_bytes())
    name = b"encoder.blocks.0.attn.query.weight"
    at = data.index(name) + len(name)
    data[at : at + 2] = np.float16(np.inf).tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="its scales are no usable numbers"):
        read_checkpoint(path)


def changed(offset: int, value: bytes) -> bytes:
    data = bytearray(ggml.ggml_bytes(DIMS, random_tensors(DIMS)))
    data[offset : offset + len(value)] = value
    return bytes(data)


FILTERS = 4 * 12
WORDS = FILTERS + 8 + 80 * 201 * 4


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (4, struct.pack("<i", 51865), "words of 50257|are not those of its tensors"),
        (4, struct.pack("<i", -1), "words"),
        (12, struct.pack("<i", 65), "n_audio_state 65"),
        (40, struct.pack("<i", 128), "80 mel filters of 201"),
        (FILTERS, struct.pack("<i", 2**31 - 1), "mel filters of"),
        (FILTERS + 8 + 400, struct.pack("<f", 0.5), "mel filters are not Whisper's"),
        (FILTERS + 8 + 400, struct.pack("<f", float("nan")), "mel filters are not Whisper's"),
        (WORDS, struct.pack("<i", 3), "3 words of"),
        (WORDS, struct.pack("<i", 60000), "60000 words"),
        (WORDS + 4, struct.pack("<I", 2**32 - 1), "a word of"),
        (WORDS + 8, b"?", r"none of Whisper's \(word 0\)"),
    ],
)
def test_a_wrong_header_is_an_error(
    tmp_path: Path, offset: int, value: bytes, message: str
) -> None:
    path = tmp_path / "ggml-x.bin"
    path.write_bytes(changed(offset, value))
    with pytest.raises(WeightsError, match=message):
        load(str(path))


@pytest.mark.parametrize(
    ("rank", "n_name", "kind", "message"),
    [
        (9, 5, 1, "a tensor of 9 dimensions"),
        (2, 10**6, 1, "a name of 1000000 bytes"),
        (2, 5, 14, "of ggml's type 14, which is not read; take a file of f32, f16, q4_0"),
        (2, 5, 2, "rows of 5 in blocks of 32"),
    ],
)
def test_a_wrong_tensor_is_an_error(
    tmp_path: Path, rank: int, n_name: int, kind: int, message: str
) -> None:
    path = tmp_path / "ggml-x.bin"
    tensor = struct.pack(f"<3i{rank}i", rank, n_name, kind, *[5] * rank) + b"extra" + bytes(100)
    path.write_bytes(ggml.header_bytes(DIMS) + tensor)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize("n_missing", [1, 1000, 100_000, 400_000])
def test_a_cut_file_is_an_error(tmp_path: Path, n_missing: int) -> None:
    path = tmp_path / "ggml-x.bin"
    path.write_bytes(ggml.ggml_bytes(DIMS, random_tensors(DIMS))[:-n_missing])
    with pytest.raises(WeightsError, match=r"truncated or damaged|missing"):
        read_checkpoint(path)


def test_a_tensor_twice_is_an_error(tmp_path: Path) -> None:
    tensors = random_tensors(DIMS)
    first = ggml.ggml_bytes(DIMS, dict(list(tensors.items())[:1]))
    path = tmp_path / "ggml-x.bin"
    path.write_bytes(first + first[len(ggml.header_bytes(DIMS)) :])
    with pytest.raises(WeightsError, match="is there twice"):
        read_checkpoint(path)


def test_silero_in_ggml_is_no_whisper(tmp_path: Path) -> None:
    path = tmp_path / "ggml-silero.bin"
    path.write_bytes(b"lmgg" + struct.pack("<i", 10) + b"silero-16k" + bytes(200))
    with pytest.raises(WeightsError, match=r"damaged, or not a whisper\.cpp file"):
        read_checkpoint(path)


def test_other_formats_stay_themselves(tmp_path: Path) -> None:
    folder = write_ctranslate2(tmp_path / "ct2", SMALL_DIMS, random_tensors())
    assert format_of(folder / "model.bin") == "CTranslate2"
