"""The decoder of `hybrid` against openai-whisper's, both with the same small random weights."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations.torch_decoder.decoder import TextDecoder
from implementations.torch_decoder.load import load_decoder
from implementations.torch_decoder.session import (
    DecoderAudioFeatures,
    TorchDecoderSession,
    align,
)
from implementations.torch_model.load import build_model
from implementations.torch_model.session import cross_attention
from tests.support.checkpoints import SMALL_DIMS, random_tensors
from tests.support.hypotheses import grown
from weights.checkpoint import Checkpoint

DIMS = replace(SMALL_DIMS, n_audio_ctx=50, n_vocab=1003, n_text_ctx=70, n_text_layer=3)
TOLERANCE = 1e-5
TOKENS = [int(t) for t in np.random.default_rng(1).integers(0, DIMS.n_vocab, DIMS.n_text_ctx)]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return Checkpoint(DIMS, random_tensors(DIMS), ((1, 0),), Path("made-up"))


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> whisper.Whisper:
    model = whisper.Whisper(WhisperDimensions(**asdict(DIMS)))
    tensors = checkpoint.tensors.items()
    model.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors})
    return model.eval()


@pytest.fixture(scope="module")
def decoder(checkpoint: Checkpoint) -> TextDecoder:
    return load_decoder(checkpoint, CPU, torch.float32)


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    """One window's, of the size that a norm leaves: [1, n_audio_ctx, n_audio_state]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, DIMS.n_audio_ctx, DIMS.n_audio_state, generator=generator)


def expected_logits(
    reference: whisper.Whisper, features: torch.Tensor, tokens: Sequence[int]
) -> np.ndarray:
    """After every token, without any cache: [n_tokens, n_vocab]."""
    with torch.inference_mode():
        logits: np.ndarray = reference.decoder(torch.tensor([list(tokens)]), features)[0].numpy()
    return logits


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_prompt_and_steps_to_the_last_position(
    decoder: TextDecoder, reference: whisper.Whisper, features: torch.Tensor
) -> None:
    expected = expected_logits(reference, features, TOKENS)
    with TorchDecoderSession(decoder, DecoderAudioFeatures(features), 1) as session:
        assert_near(session.prefill(TOKENS[:29], (0, 17, 28)), expected[[0, 17, 28]])
        for i in range(29, len(TOKENS)):
            assert_near(session.step(np.array(TOKENS[i : i + 1]))[0], expected[i])


def test_hypotheses_continue_from_their_source(
    decoder: TextDecoder, reference: whisper.Whisper, features: torch.Tensor
) -> None:
    with TorchDecoderSession(decoder, DecoderAudioFeatures(features), 5) as session:
        session.prefill(TOKENS[:31], (30,))
        for text, logits in grown(session, TOKENS[:31], DIMS.n_vocab):
            assert_near(logits, expected_logits(reference, features, text)[-1])


def test_another_thread_may_have_a_session_meanwhile(
    decoder: TextDecoder, reference: whisper.Whisper, features: torch.Tensor
) -> None:
    audio_features = DecoderAudioFeatures(features)
    one, other = TOKENS[:20], TOKENS[20:]
    with (
        ThreadPoolExecutor(1) as thread,
        TorchDecoderSession(decoder, audio_features, 1) as first,
        thread.submit(TorchDecoderSession, decoder, audio_features, 1).result(60) as second,
    ):
        first.prefill(one[:10], (9,))
        thread.submit(second.prefill, other[:5], (4,)).result(60)
        for i in range(10, 20):
            logits = first.step(np.array(one[i : i + 1]))
            theirs = thread.submit(second.step, np.array(other[i - 5 : i - 4])).result(60)
    assert_near(logits[0], expected_logits(reference, features, one)[-1])
    assert_near(theirs[0], expected_logits(reference, features, other[:15])[-1])


def test_alignment_scores_the_chosen_heads(
    decoder: TextDecoder, reference: whisper.Whisper, features: torch.Tensor
) -> None:
    heads = [(2, 1), (0, 0), (1, 1), (2, 0)]
    found = align(decoder, DecoderAudioFeatures(features), TOKENS[:33], heads)
    scores, logits = (
        part.numpy() for part in cross_attention(reference, features, TOKENS[:33], heads)
    )
    assert_near(found.cross_attention, scores)
    assert_near(found.logits, logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_rounds_where_upstream_does(
    checkpoint: Checkpoint, features: torch.Tensor, dtype: torch.dtype
) -> None:
    """Rounding as on a GPU: matmuls in half precision, norms and positions in float32."""
    ours = load_decoder(checkpoint, CPU, dtype)
    theirs = build_model(checkpoint, CPU, dtype).decoder
    held, expected = ours.state_dict(), theirs.state_dict()
    assert held.keys() == expected.keys()
    is_wide = {name for name, tensor in held.items() if tensor.dtype == torch.float32}
    assert is_wide == {name for name in held if "ln" in name or "positional" in name}
    audio_features = features.to(dtype)
    with torch.inference_mode():
        logits = theirs(torch.tensor([TOKENS]), audio_features)[0].numpy()
    with TorchDecoderSession(ours, DecoderAudioFeatures(audio_features), 1) as session:
        found = session.prefill(TOKENS, range(len(TOKENS)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, logits, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_a_closed_session_is_not_used(decoder: TextDecoder, features: torch.Tensor) -> None:
    session = TorchDecoderSession(decoder, DecoderAudioFeatures(features), 1)
    session.close()
    session.close()
    with pytest.raises(AssertionError, match="closed"):
        session.step(np.array([1]))
