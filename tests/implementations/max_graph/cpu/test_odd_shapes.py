"""The graphs for models that cannot be had here, against openai-whisper's classes.

One small random model departs from tiny.en wherever a model can, float32 matrices included.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations.diagnostics import diagnostics
from implementations.implementation import Implementation
from implementations.session import AudioFeatures
from tests.support.checkpoints import random_tensors
from tests.support.hypotheses import grown
from tests.support.precompiled import odd_plan
from tests.support.sizes import ODD_DIMS
from weights.checkpoint import Checkpoint

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

TOLERANCE = 1e-4
TOKENS = [int(token) for token in np.random.default_rng(1).integers(0, ODD_DIMS.n_vocab, 66)]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    tensors = random_tensors(ODD_DIMS, dtype=np.float32)
    return Checkpoint(ODD_DIMS, tensors, ((1, 0),), Path("made-up"))


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> whisper.Whisper:
    model = whisper.Whisper(WhisperDimensions(**asdict(ODD_DIMS)))
    model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in checkpoint.tensors.items()})
    return model.eval()


def load(checkpoint: Checkpoint, n_threads: int = 0) -> Implementation:
    from implementations.max_graph.cpu.implementation import CpuFullMax
    from implementations.max_graph.cpu.load import load_graphs

    loaded = CpuFullMax(load_graphs(checkpoint, odd_plan(checkpoint, n_threads)))
    loaded.alignment_heads = checkpoint.alignment_heads
    return loaded


@pytest.fixture(scope="module")
def full_max(checkpoint: Checkpoint) -> Implementation:
    return load(checkpoint)


@pytest.fixture(scope="module")
def mel() -> np.ndarray:
    shape = (3, ODD_DIMS.n_mels, 2 * ODD_DIMS.n_audio_ctx)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


@pytest.fixture(scope="module")
def audio_features(full_max: Implementation, mel: np.ndarray) -> AudioFeatures:
    return full_max.encode(mel[:1])


def expected_logits(reference: whisper.Whisper, mel: np.ndarray, tokens: list[int]) -> np.ndarray:
    with torch.inference_mode():
        return reference(torch.from_numpy(mel[:1]), torch.tensor([tokens]))[0].numpy()


def test_encoder(full_max: Implementation, reference: whisper.Whisper, mel: np.ndarray) -> None:
    with torch.inference_mode():
        expected = reference.encoder(torch.from_numpy(mel)).numpy()
    features = full_max.encode(mel)
    np.testing.assert_allclose(features.numpy(), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(features[2].numpy(), expected[2:], rtol=0, atol=TOLERANCE)


def test_prefill_and_steps_across_panels(
    full_max: Implementation,
    audio_features: AudioFeatures,
    reference: whisper.Whisper,
    mel: np.ndarray,
) -> None:
    expected = expected_logits(reference, mel, TOKENS)
    with full_max.start(audio_features, 1) as session:
        prefilled = session.prefill(TOKENS[:29], (0, 17, 28))
        np.testing.assert_allclose(prefilled, expected[[0, 17, 28]], rtol=0, atol=TOLERANCE)
        for i in range(29, len(TOKENS)):
            stepped = session.step(np.array(TOKENS[i : i + 1]))
            np.testing.assert_allclose(stepped[0], expected[i], rtol=0, atol=TOLERANCE)


def test_hypotheses_continue_from_their_sources(
    full_max: Implementation,
    audio_features: AudioFeatures,
    reference: whisper.Whisper,
    mel: np.ndarray,
) -> None:
    with full_max.start(audio_features, 5) as session:
        session.prefill(TOKENS[:31], (30,))
        for text, logits in grown(session, TOKENS[:31], ODD_DIMS.n_vocab):
            expected = expected_logits(reference, mel, text)[-1]
            np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)


def test_sessions_do_not_disturb_each_other(
    full_max: Implementation,
    audio_features: AudioFeatures,
    reference: whisper.Whisper,
    mel: np.ndarray,
) -> None:
    one, other = TOKENS[:40], TOKENS[40:]
    with full_max.start(audio_features, 1) as first, full_max.start(audio_features, 1) as second:
        first.prefill(one[:10], (9,))
        second.prefill(other[:5], (4,))
        for i in range(10, 20):
            logits = first.step(np.array(one[i : i + 1]))
            second.step(np.array(other[i - 5 : i - 4]))
    expected = expected_logits(reference, mel, one[:20])
    np.testing.assert_allclose(logits[0], expected[-1], rtol=0, atol=TOLERANCE)


def test_alignment_scores_every_head(
    full_max: Implementation,
    audio_features: AudioFeatures,
    reference: whisper.Whisper,
    mel: np.ndarray,
) -> None:
    from implementations.torch_model.session import cross_attention

    heads = [(2, 1), (0, 0), (1, 1), (2, 0)]
    found = full_max.align(audio_features, TOKENS[:33], heads)
    with torch.inference_mode():
        features = reference.encoder(torch.from_numpy(mel[:1]))
    scores, logits = (
        part.numpy() for part in cross_attention(reference, features, TOKENS[:33], heads)
    )
    np.testing.assert_allclose(found.cross_attention, scores, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found.logits, logits, rtol=0, atol=TOLERANCE)


def test_weights_come_back_as_they_were(full_max: Implementation, checkpoint: Checkpoint) -> None:
    held = dict(diagnostics(full_max).weights())
    assert held.keys() == checkpoint.tensors.keys()
    for name, array in held.items():
        np.testing.assert_array_equal(array, checkpoint.tensors[name], err_msg=name)


def test_trace_shows_every_state_of_the_encoder(
    full_max: Implementation, reference: whisper.Whisper, mel: np.ndarray
) -> None:
    states = diagnostics(full_max).trace_encoder(mel)
    assert len(states) == ODD_DIMS.n_audio_layer + 1
    with torch.inference_mode():
        block, first = reference.encoder.blocks[0], torch.from_numpy(states[0])
        np.testing.assert_allclose(states[1], block(first).numpy(), rtol=0, atol=TOLERANCE)
        expected = reference.encoder(torch.from_numpy(mel)).numpy()
        last = reference.encoder.ln_post(torch.from_numpy(states[-1])).numpy()
    np.testing.assert_allclose(last, expected, rtol=0, atol=TOLERANCE)


def test_log_mel_is_exact_beside_loud_tones(full_max: Implementation) -> None:
    from implementations.log_mel import hann_window

    generator = np.random.default_rng(3)
    seconds = np.arange(16000) / 16000
    loud = np.sin(2 * np.pi * 440 * seconds)
    samples = (loud + 1e-5 * generator.standard_normal(16000)).astype(np.float32)
    filters = generator.random((ODD_DIMS.n_mels, 201), np.float32) ** 8
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
    windowed = (frames * hann_window()).astype(np.float64)
    power = np.abs(np.fft.rfft(windowed)) ** 2
    expected = np.log10(np.maximum(power @ filters.astype(np.float64).T, 1e-10))
    found = full_max.log_mel(samples, filters)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_number_of_threads_changes_nothing(
    checkpoint: Checkpoint, full_max: Implementation, mel: np.ndarray, n_threads: int
) -> None:
    other = load(checkpoint, n_threads)
    np.testing.assert_array_equal(other.encode(mel).numpy(), full_max.encode(mel).numpy())
    for n_group in (1, 7):
        np.testing.assert_array_equal(
            stepped_logits(other, mel, n_group), stepped_logits(full_max, mel, n_group)
        )


def stepped_logits(full_max: Implementation, mel: np.ndarray, n_group: int) -> np.ndarray:
    """Returns the logits of some steps; all hypotheses change places between them."""
    with full_max.start(full_max.encode(mel[:1]), n_group) as session:
        session.prefill(TOKENS[:40], (39,))
        logits = []
        for token in TOKENS[40:48]:
            logits.append(session.step(np.arange(token, token + n_group) % ODD_DIMS.n_vocab).copy())
            session.reorder([(i * 3) % n_group for i in range(n_group)])
    return np.stack(logits)
