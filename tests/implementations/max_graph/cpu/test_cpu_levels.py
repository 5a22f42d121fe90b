"""Levels of processors: which one is chosen, and that the encoder computes the same on each."""

import platform
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.cpu import cpu_level as levels
from implementations.max_graph.cpu.cpu_level import (
    FORCED,
    LEVELS,
    cpu_level,
)
from implementations.max_graph.cpu.dtypes import choose_dtype, matrix_types
from implementations.max_graph.load_plan import make_plan
from implementations.max_graph.request import (
    CPU_DECODER_GRAPHS,
    ENCODER_GRAPHS,
    MatrixTypes,
)
from implementations.options import LoadOptions
from tests.support import loaded
from tests.support.checkpoints import random_tensors
from tests.support.sizes import LEVEL_DIMS
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions

SKYLAKE = LEVELS[1].flags
ZEN_4 = LEVELS[2].flags
SAPPHIRE_RAPIDS = LEVELS[3].flags


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An x86-64 machine with AMX, which the system grants, and nothing forced."""
    monkeypatch.delenv(FORCED, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(levels, "_flags", lambda: SAPPHIRE_RAPIDS)
    monkeypatch.setattr(levels, "_tiles_granted", lambda: True)
    return monkeypatch


def test_the_highest_level_is_taken(processor: pytest.MonkeyPatch) -> None:
    assert cpu_level() == "amx"
    processor.setattr(levels, "_flags", lambda: ZEN_4)
    assert cpu_level() == "bf16"
    processor.setattr(levels, "_flags", lambda: SKYLAKE)
    assert cpu_level() == "avx512"
    processor.setattr(levels, "_flags", lambda: SKYLAKE - {"avx512dq"})
    assert cpu_level() == "avx2"


def test_amx_wants_the_system_to_grant_its_tiles(processor: pytest.MonkeyPatch) -> None:
    processor.setattr(levels, "_tiles_granted", lambda: False)
    assert cpu_level() == "bf16"
    processor.setenv(FORCED, "amx")
    with pytest.raises(ImplementationUnavailableError, match=r"MAXWHISPER_CPU=amx.*use bf16"):
        cpu_level()


def test_a_lower_level_can_be_forced_and_a_higher_one_not(processor: pytest.MonkeyPatch) -> None:
    processor.setenv(FORCED, "avx2")
    assert cpu_level() == "avx2"
    processor.setattr(levels, "_flags", lambda: SKYLAKE)
    processor.setenv(FORCED, "amx")
    with pytest.raises(ImplementationUnavailableError, match="more than this processor offers"):
        cpu_level()
    processor.setenv(FORCED, "sse")
    with pytest.raises(ImplementationUnavailableError, match="use avx2, avx512, bf16, amx"):
        cpu_level()


def test_a_processor_without_avx2_is_refused(processor: pytest.MonkeyPatch) -> None:
    processor.setattr(levels, "_flags", lambda: frozenset({"avx", "sse4_2"}))
    with pytest.raises(ImplementationUnavailableError, match="--impl cpu"):
        cpu_level()


@pytest.mark.parametrize(("system", "machine"), [("Linux", "aarch64"), ("Darwin", "arm64")])
def test_other_machines_are_refused(
    processor: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    processor.setattr(platform, "machine", lambda: machine)
    processor.setattr(platform, "system", lambda: system)
    for forced in ("", "avx2"):
        processor.setenv(FORCED, forced)
        with pytest.raises(ImplementationUnavailableError, match=f"{system} on {machine}; use --"):
            cpu_level()


def test_a_processor_without_lzcnt_is_refused(processor: pytest.MonkeyPatch) -> None:
    processor.setattr(levels, "_flags", lambda: SAPPHIRE_RAPIDS - {"abm"})
    assert "AVX2" in str(levels.no_level_because())


HALF_TOLERANCE = 1e-2
"""Relative: bfloat16 keeps eight bits."""


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return Checkpoint(LEVEL_DIMS, random_tensors(LEVEL_DIMS, dtype=np.float32), (), Path("made-up"))


def noise(dims: ModelDimensions) -> np.ndarray:
    """Returns two windows of mel."""
    shape = (2, dims.n_mels, 2 * dims.n_audio_ctx)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def encoded(weights: Checkpoint, mel: np.ndarray) -> np.ndarray:
    """Returns what openai-whisper's encoder makes of it."""
    model = whisper.Whisper(WhisperDimensions(**asdict(weights.dims)))
    tensors = {k: torch.from_numpy(np.array(v, np.float32)) for k, v in weights.tensors.items()}
    model.load_state_dict(tensors)
    with torch.inference_mode():
        return model.encoder(torch.from_numpy(mel)).numpy()


def test_bfloat16_is_for_processors_that_multiply_it(checkpoint: Checkpoint) -> None:
    for level in ("bf16", "amx"):
        assert choose_dtype("bfloat16", LEVEL_DIMS, level, has_decoder=True) == "bfloat16"
        expected = MatrixTypes("bfloat16", "int8", "int16")
        assert matrix_types(checkpoint, "int8", level) == expected
    with pytest.raises(ImplementationUnavailableError, match=r"without AMX.*float32 or int8$"):
        choose_dtype("bfloat16", LEVEL_DIMS, "avx512", has_decoder=True)
    with pytest.raises(ImplementationUnavailableError, match=r"without AMX.*use float32$"):
        choose_dtype("bfloat16", LEVEL_DIMS, "avx512", has_decoder=False)
    assert matrix_types(checkpoint, "int8", "avx512") == MatrixTypes("float32", "int8", "int16")


@pytest.mark.parametrize("has_decoder", [True, False], ids=["full-max", "hybrid"])
def test_auto_is_bfloat16_where_it_can_be(has_decoder: bool) -> None:
    for level in ("bf16", "amx"):
        assert choose_dtype("auto", LEVEL_DIMS, level, has_decoder=has_decoder) == "bfloat16"
    odd_heads = replace(LEVEL_DIMS, n_audio_head=LEVEL_DIMS.n_audio_head * 4)
    assert choose_dtype("auto", odd_heads, "amx", has_decoder=has_decoder) == "float32"
    assert choose_dtype("auto", LEVEL_DIMS, "avx512", has_decoder=has_decoder) == "float32"


def test_the_plan_is_for_the_level_that_is_here(
    processor: pytest.MonkeyPatch, checkpoint: Checkpoint
) -> None:
    options = LoadOptions(dtype="auto", n_threads=3)
    plan = make_plan(checkpoint, options, has_decoder=True)
    assert plan.dtype == "bfloat16"
    assert {request.cpu_target for request in plan.requests} == {"sapphirerapids"}
    assert {graph for request in plan.requests for graph in request.graphs} == {
        *ENCODER_GRAPHS,
        *CPU_DECODER_GRAPHS,
    }
    assert (plan.n_threads, plan.stacks) == (3, ("encoder", "decoder"))
    processor.setenv(FORCED, "avx2")
    plan = make_plan(checkpoint, options, has_decoder=False)
    assert plan.dtype == "float32"
    assert [request.cpu_target for request in plan.requests] == ["x86-64-v3"]
    assert plan.stacks == ("encoder",)


@pytest.mark.parametrize("level", [level.name for level in LEVELS])
@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_the_encoder_is_compiled_once_for_both(
    processor: pytest.MonkeyPatch, checkpoint: Checkpoint, level: str, dtype: str
) -> None:
    processor.setenv(FORCED, level)
    options = LoadOptions(dtype=dtype)
    full_max = make_plan(checkpoint, options, has_decoder=True).requests
    assert set(make_plan(checkpoint, options, has_decoder=False).requests) < set(full_max)


@pytest.mark.max
@pytest.mark.parametrize(
    ("level", "encoder"),
    [("avx2", "float32"), ("avx512", "float32"), ("bf16", "bfloat16"), ("amx", "bfloat16")],
)
def test_the_encoder_is_the_same_on_each_level(
    level: str, encoder: str, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs a small model, and tiny.en on the processor's own level, where all tests run it."""
    pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
    from implementations.max_graph.cpu.load import load_graphs

    try:
        is_own = level == cpu_level() and encoder == "float32"
        monkeypatch.setenv(FORCED, level)
        cpu_level()
    except ImplementationUnavailableError as error:
        pytest.skip(str(error))
    weights = loaded.checkpoint("tiny.en") if is_own else checkpoint
    options = LoadOptions(dtype=encoder)
    graphs = load_graphs(weights, make_plan(weights, options, has_decoder=False))
    mel = noise(weights.dims)
    found, expected = graphs.encode(mel).to_numpy(), encoded(weights, mel)
    if encoder == "bfloat16":
        relative_error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert 1e-5 < relative_error < HALF_TOLERANCE
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    held = dict(graphs.weights())
    for name in ("encoder.conv1.weight", "encoder.blocks.1.attn.key.weight"):
        rounding = {"float32": 0, "bfloat16": 2**-8}[encoder]
        np.testing.assert_allclose(held[name], weights.tensors[name], rtol=rounding, err_msg=name)
