"""The contract in implementations/, held to every implementation that can run here.

One of them is made up of tests/support/recompute.py, to show what a new one takes.

The reference is openai-whisper's model itself, called without any cache. Logits of tiny.en are of
size 30; 2e-3 allows float32 rounding in another order of summing, and no wrong position, head or
row, each of which is off by whole units.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MethodType

import numpy as np
import pytest
import torch

from implementations import registry
from implementations.alignment import AlignmentRequest, TokenAlignment, align_text
from implementations.decoding.loop import decode_window
from implementations.errors import ImplementationUnavailableError
from implementations.implementation import Implementation
from implementations.options import AUTO, LoadOptions
from implementations.session import AudioFeatures, DecoderSession
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support import loaded, recompute
from tests.support.hardware import IMPLEMENTATIONS, skip_if_unavailable
from tests.support.non_finite_logits import assert_fails_without_affecting_batch
from tests.support.referenced_memory import referenced_bytes
from tests.support.spoken_texts import spoken_requests

LOGITS_TOLERANCE = 2e-3
ENCODER_TOLERANCE = 1e-3
TOKENIZER = get_tokenizer(False)
PROMPT = [TOKENIZER.sot_prev, 1212, 318, 257, *TOKENIZER.sot_sequence]
CONTINUATION = [50363, 843, 523, 616, 5891, 3399, 50563]


@pytest.fixture(scope="module", autouse=True)
def a_fifth_implementation() -> Iterator[None]:
    """Another implementation in the registry, by its entry alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "ENTRIES", (*registry.ENTRIES, recompute.ENTRY))
        yield


@pytest.fixture(scope="module", params=[*IMPLEMENTATIONS, recompute.ENTRY.name])
def implementation(request: pytest.FixtureRequest) -> Implementation:
    skip_if_unavailable(request.param)
    return loaded.model("tiny.en", request.param).implementation


@pytest.fixture(scope="module")
def mel(jfk: Path, sonnet: Path) -> np.ndarray:
    """Two windows of real speech, [2, 80, 3000]."""
    windows = []
    for path in (jfk, sonnet):
        with MelSpectrogram([loaded.samples_of(path)], 80) as spectrogram:
            windows.append(spectrogram.padded_window(0, spectrogram.n_content_frames))
    return np.stack(windows)


@pytest.fixture(scope="module")
def both_windows(implementation: Implementation, mel: np.ndarray) -> AudioFeatures:
    return implementation.encode(mel)


@pytest.fixture(scope="module")
def audio_features(both_windows: AudioFeatures) -> AudioFeatures:
    return both_windows[0]


@pytest.fixture(scope="module")
def reference_features(mel: np.ndarray) -> torch.Tensor:
    """Features of both windows, [2, n_audio_ctx, n_audio_state]."""
    with torch.inference_mode():
        return loaded.whisper_model("tiny.en").encoder(torch.from_numpy(mel))


@pytest.fixture(scope="module")
def reference(reference_features: torch.Tensor) -> np.ndarray:
    """Logits after every token of prompt and continuation, [n_tokens, n_vocab]."""
    return reference_logits(reference_features, PROMPT + CONTINUATION)


def reference_logits(features: torch.Tensor, tokens: list[int]) -> np.ndarray:
    model = loaded.whisper_model("tiny.en")
    with torch.inference_mode():
        return model.decoder(torch.tensor([tokens]), features[:1])[0].numpy()


def test_encoder_matches_reference(
    both_windows: AudioFeatures, reference_features: torch.Tensor
) -> None:
    expected = reference_features.numpy()
    assert len(both_windows) == 2
    for found, of_them in ((both_windows, expected), (both_windows[1], expected[1:])):
        np.testing.assert_allclose(found.numpy(), of_them, rtol=0, atol=ENCODER_TOLERANCE)


def test_prefill_gives_the_positions_asked_for(
    implementation: Implementation, audio_features: AudioFeatures, reference: np.ndarray
) -> None:
    with implementation.start(audio_features, 1) as session:
        logits = session.prefill(PROMPT, (PROMPT.index(TOKENIZER.sot), len(PROMPT) - 1))
    assert logits.dtype == np.float32
    assert logits.flags.writeable
    expected = reference[[PROMPT.index(TOKENIZER.sot), len(PROMPT) - 1]]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=LOGITS_TOLERANCE)


def test_steps_match_the_whole_sequence_at_once(
    implementation: Implementation, audio_features: AudioFeatures, reference: np.ndarray
) -> None:
    with implementation.start(audio_features, 1) as session:
        session.prefill(PROMPT, (0,))
        for offset, token in enumerate(CONTINUATION):
            logits = session.step(np.array([token]))
            assert logits.flags.writeable
            expected = reference[len(PROMPT) + offset]
            np.testing.assert_allclose(logits[0], expected, rtol=0, atol=LOGITS_TOLERANCE)


def test_hypotheses_are_independent_and_follow_reordering(
    implementation: Implementation,
    audio_features: AudioFeatures,
    reference_features: torch.Tensor,
) -> None:
    with implementation.start(audio_features, 3) as session:
        session.prefill(PROMPT, (0,))
        session.step(np.array([50363, 843, 616]))
        session.reorder([2, 0, 0])
        logits = session.step(np.array([523, 843, 290])).copy()
    histories = [[616, 523], [50363, 843], [50363, 290]]
    for row, history in zip(logits, histories, strict=True):
        expected = reference_logits(reference_features, PROMPT + history)[-1]
        np.testing.assert_allclose(row, expected, rtol=0, atol=LOGITS_TOLERANCE)


def test_sessions_leave_nothing_behind(
    implementation: Implementation, audio_features: AudioFeatures, reference: np.ndarray
) -> None:
    for _ in range(2):
        with implementation.start(audio_features, 2) as session:
            session.prefill(PROMPT, (0,))
            session.step(np.array([1, 2]))
        session.close()
    with implementation.start(audio_features, 1) as session:
        logits = session.prefill(PROMPT, (len(PROMPT) - 1,))
    np.testing.assert_allclose(logits[0], reference[len(PROMPT) - 1], rtol=0, atol=LOGITS_TOLERANCE)


@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(beam_size=None),
        TranscribeOptions(beam_size=None, without_timestamps=True, suppress_tokens=(13,)),
        TranscribeOptions(beam_size=None, sample_len=18),
        TranscribeOptions(beam_size=5),
        TranscribeOptions(beam_size=2, patience=2.0, without_timestamps=True),
        TranscribeOptions(temperatures=(0.6,), seed=3),
    ],
    ids=["greedy", "greedy-no-timestamps", "greedy-short", "beam5", "no-timestamps", "sampled"],
)
def test_decode_equals_the_generic_loop(
    implementation: Implementation,
    audio_features: AudioFeatures,
    options: TranscribeOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if type(implementation).decode is Implementation.decode:
        pytest.skip(f"{implementation.name} decodes by the generic loop itself")
    builder = RequestBuilder.create(implementation.dims, options, TOKENIZER)
    request = builder.build(PROMPT[1:4], options.temperatures[0], (options.seed, 0, 0))
    decoded = implementation.decode(audio_features, request)
    with implementation.start(audio_features, request.search.n_group) as session:
        for method in (DecoderSession.top_k, DecoderSession.sample):
            monkeypatch.setattr(session, method.__name__, MethodType(method, session))
        expected = decode_window(session, request, start_time=0.0)
    assert decoded.tokens == expected.tokens
    is_exact = implementation.device == "cpu"
    tolerance = 1e-4 if is_exact else 1e-2
    assert decoded.sum_logprob == pytest.approx(expected.sum_logprob, abs=tolerance)
    assert decoded.no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-4)
    assert decoded.n_steps == expected.n_steps


@pytest.fixture(scope="module")
def speech_and_no_numbers(implementation: Implementation, mel: np.ndarray) -> AudioFeatures:
    return implementation.encode(np.stack([mel[0], np.full_like(mel[0], np.nan)]))


@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(beam_size=None, sample_len=3),
        TranscribeOptions(beam_size=3, sample_len=3),
        TranscribeOptions(temperatures=(0.6,), best_of=3, sample_len=3),
    ],
    ids=["greedy", "beams", "sampled"],
)
def test_a_window_without_numbers_is_an_error_and_harms_no_other(
    implementation: Implementation,
    speech_and_no_numbers: AudioFeatures,
    options: TranscribeOptions,
) -> None:
    builder = RequestBuilder.create(implementation.dims, options, TOKENIZER)
    request = builder.build([], options.temperatures[0], (0, 0, 0))
    assert_fails_without_affecting_batch(implementation, speech_and_no_numbers, request)


def test_alignment_matches_reference(
    implementation: Implementation, audio_features: AudioFeatures, reference: np.ndarray
) -> None:
    heads = loaded.checkpoint("tiny.en").alignment_heads
    tokens = PROMPT + CONTINUATION
    alignment = implementation.align(audio_features, tokens, heads)
    assert alignment.cross_attention.shape == (len(heads), len(tokens), 1500)
    np.testing.assert_allclose(alignment.logits, reference, rtol=0, atol=LOGITS_TOLERANCE)
    expected = reference_cross_attention(audio_features, tokens, heads)
    np.testing.assert_allclose(alignment.cross_attention, expected, rtol=0, atol=LOGITS_TOLERANCE)


@pytest.fixture(scope="module")
def requests(mel: np.ndarray) -> list[AlignmentRequest]:
    """Texts of both windows."""
    return spoken_requests(mel, (550, 1500))


def test_texts_are_aligned_together_as_alone(
    implementation: Implementation,
    both_windows: AudioFeatures,
    requests: list[AlignmentRequest],
) -> None:
    """The first text is short, so that the windows are of other lengths."""
    jfk, sonnet = requests
    chosen = [replace(jfk, text=jfk.text[:5], n_positions=203), sonnet]
    together = implementation.align_batch(both_windows, chosen)
    assert len(together) == len(chosen)
    for i, (request, found) in enumerate(zip(chosen, together, strict=True)):
        (alone,) = implementation.align_batch(both_windows[i], [request])
        assert_same_alignment(found, alone)
        assert_same_alignment(
            found,
            align_text(
                implementation.align(both_windows[i], request.tokens, request.heads), request
            ),
        )


@pytest.fixture(scope="module")
def reference_alignments(mel: np.ndarray, requests: list[AlignmentRequest]) -> list[TokenAlignment]:
    """Those of both windows by `cpu`."""
    reference = loaded.model("tiny.en", "cpu").implementation
    return reference.align_batch(reference.encode(mel), requests)


def test_texts_are_aligned_as_by_the_reference(
    implementation: Implementation,
    both_windows: AudioFeatures,
    requests: list[AlignmentRequest],
    reference_alignments: list[TokenAlignment],
) -> None:
    found = implementation.align_batch(both_windows, requests)
    for ours, theirs in zip(found, reference_alignments, strict=True):
        assert_same_alignment(ours, theirs)


@pytest.mark.full  # compiles a decoder that no other test needs
def test_bfloat16_aligns_within_two_positions(
    mel: np.ndarray,
    requests: list[AlignmentRequest],
    reference_alignments: list[TokenAlignment],
) -> None:
    """The encoder's and cross-attention's numbers have 8 bits, on CPUs that multiply them."""
    chosen = registry.implementation_class("full-max")
    try:
        rounded = chosen.load(loaded.checkpoint("tiny.en"), LoadOptions(dtype="bfloat16"))
    except ImplementationUnavailableError as error:
        pytest.skip(str(error))
    found = rounded.align_batch(rounded.encode(mel), requests)
    for ours, theirs in zip(found, reference_alignments, strict=True):
        off = np.abs(ours.positions - theirs.positions)
        assert np.mean(off <= 2) >= 0.95  # positions are 20 ms; 0.04 s
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, rtol=0, atol=0.1)


def assert_same_alignment(found: TokenAlignment, expected: TokenAlignment) -> None:
    """Positions are equal; sums of float32 in another order change a probability by 1e-4."""
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=0, atol=1e-3)


def reference_cross_attention(
    audio_features: AudioFeatures, tokens: list[int], heads: tuple[tuple[int, int], ...]
) -> np.ndarray:
    """Scores by openai-whisper's own attention modules, gathered by hooks."""
    from whisper.model import disable_sdpa

    model = loaded.whisper_model("tiny.en")
    scores: dict[int, torch.Tensor] = {}
    hooks = [
        block.cross_attn.register_forward_hook(
            lambda _module, _inputs, outputs, layer=layer: scores.__setitem__(layer, outputs[1][0])
        )
        for layer, block in enumerate(model.decoder.blocks)
    ]
    with torch.inference_mode(), disable_sdpa():
        model.decoder(torch.tensor([tokens]), torch.from_numpy(audio_features.numpy()))
    for hook in hooks:
        hook.remove()
    return np.stack([scores[layer][head].numpy() for layer, head in heads])


def test_an_entry_is_all_that_the_registry_needs() -> None:
    assert registry.names()[-1] == "recompute"
    assert registry.fastest_first()[-1] == ("recompute", "cpu")
    assert registry.default_device("recompute") == "cpu"
    assert registry.unavailable_because("recompute") is None
    assert registry.is_compiled("recompute", loaded.checkpoint("tiny.en"), LoadOptions())


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ImplementationUnavailableError, match="cpu, cuda"):
        registry.implementation_class("gpu")


def test_cpu_rejects_unsupported_options() -> None:
    chosen = registry.implementation_class("cpu")
    with pytest.raises(ImplementationUnavailableError, match="cuda"):
        chosen.load(loaded.checkpoint("tiny.en"), LoadOptions(device="cuda"))
    with pytest.raises(ImplementationUnavailableError, match="int3"):
        chosen.load(loaded.checkpoint("tiny.en"), LoadOptions(dtype="int3"))


def test_closing_frees_the_weights(implementation: Implementation, mel: np.ndarray) -> None:
    weights = loaded.checkpoint("tiny.en")
    closed = registry.implementation_class(implementation.name).load(weights, LoadOptions())
    builder = RequestBuilder.create(closed.dims, TranscribeOptions(sample_len=5), TOKENIZER)
    closed.decode(closed.encode(mel[:1]), builder.build([], 0.0, (0, 0, 0)))
    held = referenced_bytes(closed)
    assert held >= sum(array.nbytes for array in weights.tensors.values())
    closed.close()
    assert referenced_bytes(closed) < held / 1000
    closed.close()


def test_auto_is_one_of_the_dtypes(implementation: Implementation) -> None:
    chosen = registry.implementation_class(implementation.name)
    loaded_so = chosen.load(loaded.checkpoint("tiny.en"), LoadOptions(dtype=AUTO))
    assert loaded_so.dtype in {"float32", "float16", "bfloat16", "int8"}
