"""`full-max` with integer matrices in its decoder, against PyTorch with what the integers mean.

So rounding to integers is on both sides, and what is left to differ is summing. The encoder is not
judged here: both sides hear what it made.
"""

import re
from dataclasses import asdict
from pathlib import Path
from types import MethodType

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations import registry
from implementations.decoding.loop import decode_window
from implementations.diagnostics import diagnostics
from implementations.implementation import Implementation
from implementations.max_graph.cpu.graphs.layouts import GROUP
from implementations.options import LoadOptions
from implementations.session import AudioFeatures, DecoderSession
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support import loaded

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

TOLERANCE = 5e-3
"""Relative error: what the audio's keys and values may lose to bfloat16, where there is AMX."""
BLOCK_TOLERANCE = 2e-2
"""Relative error of long prompts, whose matmuls are in bfloat16 where there is AMX."""
PROMPT = [50257, 50362]
CONTINUATION = [50363, 843, 523, 616, 5891, 3399, 50563]


@pytest.fixture(scope="module")
def int8() -> Implementation:
    chosen = registry.implementation_class("full-max")
    return chosen.load(loaded.checkpoint("tiny.en"), LoadOptions(dtype="int8"))


@pytest.fixture(scope="module")
def reference(int8: Implementation) -> whisper.Whisper:
    model = whisper.Whisper(WhisperDimensions(**asdict(int8.dims)))
    model.load_state_dict({name: torch.from_numpy(a) for name, a in diagnostics(int8).weights()})
    return model.eval()


@pytest.fixture(scope="module")
def mel(jfk: Path) -> np.ndarray:
    with MelSpectrogram([loaded.samples_of(jfk)], 80) as spectrogram:
        return spectrogram.padded_window(0, spectrogram.n_content_frames)[None]


@pytest.fixture(scope="module")
def audio_features(int8: Implementation, mel: np.ndarray) -> AudioFeatures:
    return int8.encode(mel)


def expected_logits(
    reference: whisper.Whisper, audio_features: AudioFeatures, tokens: list[int]
) -> np.ndarray:
    with torch.inference_mode():
        features = torch.from_numpy(audio_features.numpy())
        return reference.decoder(torch.tensor([tokens]), features)[0].numpy()


def assert_near(logits: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    error = np.linalg.norm(logits - expected) / np.linalg.norm(expected)
    assert error < tolerance


def half_steps_of(matrix: np.ndarray) -> np.ndarray:
    """Returns half of each number's step: every GROUP inputs of a row have a scale."""
    largest = np.abs(matrix).reshape(len(matrix), -1, GROUP).max(axis=-1) / 254
    return largest.repeat(GROUP, axis=1)


def test_matrices_of_steps_are_rounded_to_integers(int8: Implementation) -> None:
    assert int8.dtype == "int8"
    tensors = loaded.checkpoint("tiny.en").tensors
    once_per_window = re.compile(r"encoder|.*cross_attn[.](key|value)")
    for name, array in diagnostics(int8).weights():
        if once_per_window.match(name):
            continue
        exact = tensors[name].astype(np.float32)
        is_rounded = exact.ndim == 2 and "positional" not in name
        # A group's largest number is 127 of its steps, and rounding is off by half of one.
        half_steps = half_steps_of(exact) if is_rounded else 0.0
        assert (np.abs(array - exact) <= half_steps * 1.001).all(), name
        assert np.array_equal(array, exact) != is_rounded, name


def test_logits_are_those_of_the_rounded_weights(
    int8: Implementation, reference: whisper.Whisper, audio_features: AudioFeatures
) -> None:
    expected = expected_logits(reference, audio_features, PROMPT + CONTINUATION)
    with int8.start(audio_features, 1) as session:
        assert_near(session.prefill(PROMPT, (0, 1)), expected[:2])
        for logits, token in zip(expected[2:], CONTINUATION, strict=True):
            assert_near(session.step(np.array([token]))[0], logits)


def test_a_long_prompt_begins_what_steps_go_on_from(
    int8: Implementation, reference: whisper.Whisper, audio_features: AudioFeatures
) -> None:
    tokens = [*PROMPT, *np.random.default_rng(0).integers(0, 50256, 43).tolist()]
    expected = expected_logits(reference, audio_features, [*tokens, 843])
    with int8.start(audio_features, 1) as session:
        fed = session.prefill(tokens, (1, 33, 44))
        assert_near(fed, expected[[1, 33, 44]], BLOCK_TOLERANCE)
        assert_near(session.step(np.array([843]))[0], expected[45], BLOCK_TOLERANCE)


def test_hypotheses_continue_from_their_sources(
    int8: Implementation, reference: whisper.Whisper, audio_features: AudioFeatures
) -> None:
    with int8.start(audio_features, 3) as session:
        session.prefill(PROMPT, (1,))
        session.step(np.array([50363, 843, 616]))
        session.reorder([2, 0, 0])
        logits = session.step(np.array([523, 843, 290]))
    for row, history in zip(logits, ([616, 523], [50363, 843], [50363, 290]), strict=True):
        assert_near(row, expected_logits(reference, audio_features, PROMPT + history)[-1])


@pytest.mark.parametrize("beam_size", [None, 5])
def test_tokens_are_chosen_by_all_their_bits(
    int8: Implementation,
    audio_features: AudioFeatures,
    beam_size: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = get_tokenizer(int8.dims.is_multilingual, language="en", task="transcribe")
    options = TranscribeOptions(beam_size=beam_size)
    request = RequestBuilder.create(int8.dims, options, tokenizer).build((), 0.0, (0, 0, 0))
    decoded = int8.decode(audio_features, request)
    with int8.start(audio_features, request.search.n_group) as session:
        for method in (DecoderSession.top_k, DecoderSession.sample):
            monkeypatch.setattr(session, method.__name__, MethodType(method, session))
        expected = decode_window(session, request, start_time=0.0)
    assert decoded.tokens == expected.tokens
    # The sum of all tokens' exponentials is of the high bytes.
    assert decoded.sum_logprob == pytest.approx(expected.sum_logprob, abs=0.1)
