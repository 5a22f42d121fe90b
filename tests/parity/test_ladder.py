"""The ladder on real speech: green for `cpu` itself, red from where an error is put in."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from implementations.cpu import CpuImplementation
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures, FloatArray
from implementations.torch_model.session import TorchSession
from maxwhisper_cli.parity.ladder import Reference, climb, make_reference
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded

OPTIONS = TranscribeOptions(temperatures=(0.0,), beam_size=None)
RUNGS = [
    "weights",
    "mel",
    "convolutions",
    *(f"encoder block {i}" for i in range(1, 5)),
    "encoder output",
    "first logits",
    "per-step logits",
    "tokens",
    "segments",
    "text",
]


class Faulty(CpuImplementation):
    """`cpu` with an error at one place."""

    def __init__(self, fault: str) -> None:
        vars(self).update(vars(loaded.model("tiny.en", "cpu").implementation))
        self.fault = fault

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        for name, array in super().weights():
            if self.fault == "weights" and name == "decoder.ln.bias":
                array[0] += 1e-4
            yield name, array

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray:
        return super().log_mel(samples, filters * (1.1 if self.fault == "mel" else 1))

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        states = super().trace_encoder(mel)
        if self.fault == "block":
            states[3][0, 700, 5] += 1.0
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
        tokens = (*window.tokens[:3], 290, *window.tokens[4:])
        return DecodedWindow(tokens, window.sum_logprob, window.no_speech_prob, window.n_steps)


@pytest.fixture(scope="module")
def reference(jfk: Path) -> Reference:
    cpu = loaded.model("tiny.en", "cpu").implementation
    return make_reference(cpu, loaded.samples_of(jfk)[: 5 * 16000], OPTIONS)


@pytest.mark.parametrize(
    ("fault", "red"),
    [
        ("", []),
        ("weights", ["weights"]),
        ("mel", ["mel"]),
        ("block", ["encoder block 3"]),
        ("step", ["per-step logits"]),
        ("text", ["tokens", "text"]),
    ],
)
def test_red_where_the_error_is(reference: Reference, fault: str, red: list[str]) -> None:
    cpu = loaded.model("tiny.en", "cpu").implementation
    rungs = list(climb(Faulty(fault), cpu, reference, OPTIONS))
    assert [rung.name for rung in rungs] == RUNGS
    assert [rung.name for rung in rungs if rung.passed is not True] == red
