"""The published tiny.en and base, as installed packages carry them."""

import base64
import gzip
import struct
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions, Whisper, sinusoids

from weights.checkpoint import Checkpoint
from weights.detect import read_checkpoint
from weights.models import NAMED_MODELS


@pytest.fixture(params=["tiny.en", "base"])
def named(request: pytest.FixtureRequest) -> Checkpoint:
    return request.getfixturevalue(request.param.replace(".", "_"))


def test_counts(tiny_en: Checkpoint, base: Checkpoint) -> None:
    assert (len(tiny_en.tensors), len(base.tensors)) == (167, 245)
    assert sum(array.size for array in tiny_en.tensors.values()) == 37_760_256
    assert sum(array.size for array in base.tensors.values()) == 72_593_920


def test_dims_and_name(tiny_en: Checkpoint, base: Checkpoint) -> None:
    assert tuple(asdict(tiny_en.dims).values()) == (80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4)
    assert tuple(asdict(base.dims).values()) == (80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6)
    for checkpoint, name in ((tiny_en, "tiny.en"), (base, "base")):
        assert checkpoint.model_name == name
        assert checkpoint.alignment_heads == NAMED_MODELS[name].alignment_heads


def test_name_comes_from_the_tensors_alone(base: Checkpoint, tmp_path: Path) -> None:
    renamed = tmp_path / "my-model.xyz"
    renamed.symlink_to(base.source)
    assert read_checkpoint(renamed).model_name == "base"


def test_fp16_is_mapped_and_read_only(named: Checkpoint) -> None:
    for name, array in named.tensors.items():
        if name != "encoder.positional_embedding":
            assert array.dtype == np.float16
            assert not array.flags.owndata
            assert not array.flags.writeable


def test_openai_whisper_takes_every_tensor(named: Checkpoint) -> None:
    model = Whisper(ModelDimensions(**asdict(named.dims)))
    state = {name: torch.from_numpy(np.array(array)) for name, array in named.tensors.items()}
    model.load_state_dict(state, strict=True)


def test_encoder_positions_are_openai_whispers(named: Checkpoint) -> None:
    found = named.tensors["encoder.positional_embedding"]
    reference = sinusoids(*found.shape).numpy()
    assert found.dtype == np.float32
    # One rounding of the rate, 2^-24, counted 1500 times: it depends on the processor's `exp`.
    assert np.abs(found - reference).max() < 1e-4
    assert (found == reference).mean() > 0.9


def test_numbers_are_where_the_format_puts_them(tiny_en: Checkpoint) -> None:
    """A search of the raw bytes for a few variables, without the parser."""
    content = tiny_en.source.read_bytes()

    def raw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        header = name.encode() + b"\0" + struct.pack(f"<B{len(shape)}I", len(shape), *shape)
        start = content.index(header) + len(header) + 5
        return np.frombuffer(content, "<f2", int(np.prod(shape)), start).reshape(shape)

    fused = raw("encoder/layer_3/self_attention/linear_0/weight", (1152, 384))
    cross = raw("decoder/layer_1/attention/linear_1/weight", (768, 384))
    biases = raw("decoder/layer_1/attention/linear_1/bias", (768,))
    expected = {
        "encoder.blocks.3.attn.query.weight": fused[:384],
        "encoder.blocks.3.attn.key.weight": fused[384:768],
        "encoder.blocks.3.attn.value.weight": fused[768:],
        "decoder.blocks.1.cross_attn.key.weight": cross[:384],
        "decoder.blocks.1.cross_attn.value.weight": cross[384:],
        "decoder.blocks.1.cross_attn.value.bias": biases[384:],
        "decoder.blocks.2.mlp.2.weight": raw("decoder/layer_2/ffn/linear_1/weight", (384, 1536)),
        "encoder.conv1.weight": raw("encoder/conv1/weight", (384, 80, 3)),
        "decoder.ln.bias": raw("decoder/layer_norm/beta", (384,)),
    }
    for name, numbers in expected.items():
        np.testing.assert_array_equal(tiny_en.tensors[name], numbers, err_msg=name)


def test_table_is_openai_whispers() -> None:
    assert set(NAMED_MODELS) == set(whisper.available_models())
    for name, model in NAMED_MODELS.items():
        assert model.url == whisper._MODELS[name]
        flags = gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[name]))
        shape = (model.dims.n_text_layer, model.dims.n_text_head)
        pairs = np.argwhere(np.frombuffer(flags, bool).reshape(shape)).tolist()
        assert [list(pair) for pair in model.alignment_heads] == pairs
