"""`full-max` with integer matrices in its decoder, against PyTorch with what the integers mean.

So rounding to integers is on both sides, and what is left to differ is summing.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations import registry
from implementations.base import Implementation, LoadOptions
from maxwhisper_cli.transcription.mel import MelSpectrogram
from tests.support import loaded

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

TOLERANCE = 2e-3
PROMPT = [50257, 50362]
CONTINUATION = [50363, 843, 523, 616, 5891, 3399, 50563]


@pytest.fixture(scope="module")
def int8() -> Implementation:
    chosen = registry.implementation_class("full-max")
    return chosen.load(loaded.checkpoint("tiny.en"), LoadOptions(dtype="int8"))


@pytest.fixture(scope="module")
def reference(int8: Implementation) -> whisper.Whisper:
    model = whisper.Whisper(WhisperDimensions(**asdict(int8.dims)))
    model.load_state_dict({name: torch.from_numpy(a) for name, a in int8.weights()})
    return model.eval()


@pytest.fixture(scope="module")
def mel(jfk: Path) -> np.ndarray:
    with MelSpectrogram([loaded.samples_of(jfk)], 80) as spectrogram:
        return spectrogram.padded_window(0, spectrogram.n_content_frames)[None]


def expected_logits(reference: whisper.Whisper, mel: np.ndarray, tokens: list[int]) -> np.ndarray:
    with torch.inference_mode():
        return reference(torch.from_numpy(mel), torch.tensor([tokens]))[0].numpy()


def test_only_the_decoder_s_matrices_are_rounded(int8: Implementation) -> None:
    assert int8.dtype == "int8"
    tensors = loaded.checkpoint("tiny.en").tensors
    for name, array in int8.weights():
        exact = tensors[name].astype(np.float32)
        is_rounded = name.startswith("decoder.") and exact.ndim == 2 and "positional" not in name
        # A row's largest number is 127 of its steps, and rounding is off by half of one.
        half_steps = np.abs(exact).max(axis=-1, keepdims=True) / 254 if is_rounded else 0.0
        assert (np.abs(array - exact) <= half_steps * 1.001).all(), name
        assert np.array_equal(array, exact) != is_rounded, name


def test_logits_are_those_of_the_rounded_weights(
    int8: Implementation, reference: whisper.Whisper, mel: np.ndarray
) -> None:
    expected = expected_logits(reference, mel, PROMPT + CONTINUATION)
    with int8.start(int8.encode(mel), 1) as session:
        prefilled = session.prefill(PROMPT, (0, 1))
        np.testing.assert_allclose(prefilled, expected[:2], rtol=0, atol=TOLERANCE)
        for logits, token in zip(expected[2:], CONTINUATION, strict=True):
            stepped = session.step(np.array([token]))[0]
            np.testing.assert_allclose(stepped, logits, rtol=0, atol=TOLERANCE)


def test_hypotheses_go_on_from_where_they_are_told(
    int8: Implementation, reference: whisper.Whisper, mel: np.ndarray
) -> None:
    with int8.start(int8.encode(mel), 3) as session:
        session.prefill(PROMPT, (1,))
        session.step(np.array([50363, 843, 616]))
        session.reorder([2, 0, 0])
        logits = session.step(np.array([523, 843, 290]))
    for row, history in zip(logits, ([616, 523], [50363, 843], [50363, 290]), strict=True):
        expected = expected_logits(reference, mel, PROMPT + history)[-1]
        np.testing.assert_allclose(row, expected, rtol=0, atol=TOLERANCE)
