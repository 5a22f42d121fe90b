"""The ladder: green for `cpu` itself on real speech, red where an error is put in."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from implementations.cpu import CpuImplementation
from implementations.implementation import Implementation
from implementations.mel_frames import MelFrames
from implementations.options import LoadOptions
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures, FloatArray
from implementations.torch_model.session import TorchSession
from maxwhisper_cli.parity.ladder import Reference, climb, make_reference
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded
from tests.support.checkpoints import SMALL_DIMS, random_tensors
from weights.checkpoint import Checkpoint

OPTIONS = TranscribeOptions(temperatures=(0.0,), beam_size=None)
SHORT = replace(OPTIONS, without_timestamps=True, sample_len=10)
"""For a model that makes up its tokens: so many of them, and a segment with known times."""


def rungs(n_blocks: int) -> list[str]:
    """Returns the names of all rungs, for an encoder of some blocks."""
    states = ["convolutions", *(f"encoder block {i + 1}" for i in range(n_blocks))]
    logits = ["encoder output", "first logits", "per-step logits"]
    return ["weights", "mel", *states, *logits, "tokens", "segments", "text"]


class Faulty(CpuImplementation):
    """`cpu` with an error at one place."""

    def __init__(self, sound: Implementation, fault: str) -> None:
        vars(self).update(vars(sound))
        self.fault = fault

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        for name, array in super().weights():
            if self.fault == "weights" and name == "decoder.ln.bias":
                array[0] += 1e-4
            yield name, array

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray | MelFrames:
        return super().log_mel(samples, filters * (1.1 if self.fault == "mel" else 1))

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        states = super().trace_encoder(mel)
        if self.fault == "block":
            states[2][0, 700, 5] += 1.0
        return states

    def start(self, audio_features: AudioFeatures, n_group: int) -> TorchSession:
        session = super().start(audio_features, n_group)
        if self.fault == "step":
            step = session.step
            session.step = lambda tokens: step(tokens) + np.float32(0.01)  # type: ignore[method-assign]
        return session

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        window = super().decode(audio_features, request)
        if self.fault != "text":
            return window
        tokens = (*window.tokens[:3], window.tokens[3] ^ 1, *window.tokens[4:])
        return DecodedWindow(tokens, window.sum_logprob, window.no_speech_prob, window.n_steps)


@pytest.fixture(scope="module")
def small() -> Implementation:
    """`cpu` with a small model of random weights."""
    checkpoint = Checkpoint(SMALL_DIMS, random_tensors(SMALL_DIMS), ((0, 0),), Path("made-up"))
    return CpuImplementation.load(checkpoint, LoadOptions())


@pytest.fixture(scope="module")
def reference(small: Implementation, jfk: Path) -> Reference:
    return make_reference(small, loaded.samples_of(jfk, 5), SHORT)


@pytest.mark.parametrize(
    ("fault", "red"),
    [
        ("", []),
        ("weights", ["weights"]),
        ("mel", ["mel"]),
        ("block", ["encoder block 2"]),
        ("step", ["per-step logits"]),
        ("text", ["tokens", "text"]),
    ],
)
def test_red_where_the_error_is(
    small: Implementation, reference: Reference, fault: str, red: list[str]
) -> None:
    assert len(reference.tokens) > 3
    found = list(climb(Faulty(small, fault), small, reference, SHORT))
    assert [rung.name for rung in found] == rungs(SMALL_DIMS.n_audio_layer)
    assert [rung.name for rung in found if rung.passed is not True] == red


def test_all_is_green_on_real_speech(jfk: Path) -> None:
    cpu = loaded.load("tiny.en", "cpu", dtype="float32").implementation  # encodes to be traced
    real = make_reference(cpu, loaded.samples_of(jfk, 5), OPTIONS)
    found = list(climb(cpu, cpu, real, OPTIONS))
    assert [rung.name for rung in found] == rungs(cpu.dims.n_audio_layer)
    assert all(rung.passed for rung in found)
    assert real.transcript.text
