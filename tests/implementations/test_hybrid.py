"""Properties of `hybrid`: a decoder without openai-whisper, no copy of features, two dtypes."""

from pathlib import Path

import numpy as np
import pytest

from implementations.diagnostics import diagnostics
from implementations.max_graph.cpu.cpu_level import cpu_level
from implementations.max_graph.cpu.dtypes import HALF_LEVELS
from implementations.options import LoadOptions
from implementations.registry import implementation_class
from tests.support import loaded
from tests.support.fresh_process import imported_by

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

MEL = np.random.default_rng(0).standard_normal((1, 80, 3000), np.float32)
HALF_TOLERANCE = 2e-2
"""Relative: bfloat16 keeps eight bits."""


def test_transcribes_without_importing_openai_whisper(jfk: Path) -> None:
    """Nor what torch imports for compiling: each takes tens of megabytes."""
    unwanted = ("whisper", "numba", "torch._dynamo", "torch._inductor")
    text, imported = imported_by("hybrid", jfk, *unwanted)
    assert "ask not what your country can do for you" in text
    assert imported == ""


def test_features_reach_the_decoder_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    from implementations.max_graph.cpu.load import LoadedGraphs
    from implementations.torch_decoder.session import DecoderAudioFeatures

    hybrid = loaded.model("tiny.en", "hybrid").implementation
    encode, buffers = LoadedGraphs.encode, []

    def noted(graphs: LoadedGraphs, mel: np.ndarray) -> object:
        buffers.append(encode(graphs, mel))
        return buffers[-1]

    monkeypatch.setattr(LoadedGraphs, "encode", noted)
    features = hybrid.encode(MEL)
    (buffer,) = buffers
    assert isinstance(features, DecoderAudioFeatures)
    assert features.tensor.data_ptr() == np.from_dlpack(buffer).ctypes.data


def test_in_bfloat16_only_the_encoder_is() -> None:
    if cpu_level() not in HALF_LEVELS:
        pytest.skip("the processor multiplies no bfloat16")
    chosen = implementation_class("hybrid")
    exact = loaded.model("tiny.en", "hybrid").implementation
    half = chosen.load(loaded.checkpoint("tiny.en"), LoadOptions(dtype="bfloat16"))
    assert half.dtype == "bfloat16"
    found, expected = half.encode(MEL).numpy(), exact.encode(MEL).numpy()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 1e-5 < error < HALF_TOLERANCE
    held, weights = dict(diagnostics(half).weights()), dict(diagnostics(exact).weights())
    assert held.keys() == weights.keys()
    rounded = {name for name in weights if not np.array_equal(held[name], weights[name])}
    assert rounded
    assert {name.partition(".")[0] for name in rounded} == {"encoder"}
