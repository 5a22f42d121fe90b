"""Whole models on a GPU at every width of Whisper, against openai-whisper's classes in float32.

Weights are random, of two layers each in encoder and decoder, in Whisper's real contexts. The
reference computes on the GPU as well, without TF32.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations.alignment import AlignmentRequest, align_text, alignment_matrix
from implementations.decoding.rules import RuleBook
from implementations.diagnostics import diagnostics
from implementations.implementation import Implementation
from implementations.options import LoadOptions
from implementations.request import DecodedWindow, DecodeRequest, Search, TokenRules
from implementations.session import Alignment, FloatArray, IntArray
from implementations.torch_model.session import cross_attention
from implementations.torch_tensors import float32_array
from tests.support.checkpoints import random_tensors
from tests.support.hardware import needs_max_gpu
from tests.support.hypotheses import grown
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

pytestmark = [pytest.mark.gpu, needs_max_gpu, pytest.mark.usefixtures("gpu_kernels")]

TOLERANCES = {"float32": 5e-6, "float16": 1.5e-3, "bfloat16": 2e-2}
"""Norm of the error over the norm, of a frame's features and of a row of logits.

Three times what an H100 showed, 1.5e-6, 4.6e-4 and 6.4e-3: float32 sums in another order; the
others round matrices, caches and what passes between layers to 11 and to 8 bits.
"""
SIZES = [(384, 80), (384, 128), (512, 80), (768, 80), (1024, 80), (1280, 80), (1280, 128)]
"""Width and bands; Whisper has 128 bands at width 1280 only."""
EOT = 50257
RULES = TokenRules(EOT, 50364, 50362, (50363,), (220, EOT), max_initial_timestamp=50)
TEXT_RULES = replace(RULES, with_timestamps=False)
PROMPT = (50258, 50259, 50359)
MAX_NEW_TOKENS = 24
N_WINDOWS = 32


@dataclass(frozen=True, slots=True)
class Pair:
    """Our model and its reference, mel windows and what the reference makes of them."""

    ours: Implementation
    reference: whisper.Whisper
    mel: FloatArray
    features: torch.Tensor
    dtype: str

    @property
    def tolerance(self) -> float:
        """Tolerance of features and logits."""
        return TOLERANCES[self.dtype]

    @property
    def is_exact(self) -> bool:
        """True if only near ties can be decided otherwise than by the reference."""
        return self.dtype == "float32"

    def logits(self, texts: list[list[int]], window: int) -> FloatArray:
        """Logits of texts of one length over a window, [n_texts, n_tokens, n_vocab]."""
        features = self.features[window : window + 1].expand(len(texts), -1, -1)
        with torch.inference_mode():
            return self.reference.decoder(torch.tensor(texts).cuda(), features).cpu().numpy()


@pytest.fixture(
    scope="module",
    params=[(width, n_mels, dtype) for width, n_mels in SIZES for dtype in TOLERANCES],
    ids=lambda param: "w{}x{}-{}".format(*param),
)
def pair(request: pytest.FixtureRequest, gpu_kernels: str) -> Iterator[Pair]:
    from implementations.max_graph.gpu.implementation import GpuFullMax

    width, n_mels, dtype = request.param
    n_head, n_vocab = width // 64, 51866 if n_mels == 128 else 51865
    dims = ModelDimensions(n_mels, 1500, width, n_head, 2, n_vocab, 448, width, n_head, 2)
    tensors = random_tensors(dims)
    reference = whisper.Whisper(WhisperDimensions(**asdict(dims)))
    reference.load_state_dict(
        {name: torch.from_numpy(np.array(array, np.float32)) for name, array in tensors.items()}
    )
    reference = reference.eval().cuda()
    mel = np.random.default_rng(0).standard_normal((N_WINDOWS, n_mels, 3000), np.float32)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False), torch.inference_mode():
        features = torch.cat(
            [reference.encoder(torch.from_numpy(part).cuda()) for part in mel[:, None]]
        )
    checkpoint = Checkpoint(dims, tensors, ((1, 0),), Path("made-up"))
    ours = GpuFullMax.load(checkpoint, LoadOptions(device="cuda", dtype=dtype))
    yield Pair(ours, reference, mel, features, dtype)
    ours.close()


def assert_close(found: FloatArray, expected: FloatArray, tolerance: float) -> None:
    """Compare rows along the last axis."""
    assert found.shape == expected.shape
    errors = np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert np.isfinite(errors).all()
    assert errors.max() <= tolerance


@pytest.mark.parametrize("n_windows", [1, 2, 3, 7, N_WINDOWS])
def test_encoder(pair: Pair, n_windows: int) -> None:
    found = pair.ours.encode(pair.mel[:n_windows]).numpy()
    expected = pair.features[:n_windows].cpu().numpy()
    assert_close(found, expected, pair.tolerance)


def test_encoder_states(pair: Pair) -> None:
    states = diagnostics(pair.ours).trace_encoder(pair.mel[:3])
    with torch.inference_mode():
        last = pair.reference.encoder.ln_post(torch.from_numpy(states[-1]).cuda())
        first = torch.from_numpy(states[0]).cuda()
        second = pair.reference.encoder.blocks[0](first).cpu().numpy()
    assert len(states) == 3
    assert_close(states[1], second, pair.tolerance)
    assert_close(last.cpu().numpy(), pair.features[:3].cpu().numpy(), pair.tolerance)


@pytest.mark.parametrize("n_group", [1, 2, 5, 6, 9])
@pytest.mark.parametrize("n_prompt", [3, 9, 227])
def test_prompts_and_steps(pair: Pair, n_group: int, n_prompt: int) -> None:
    generator = np.random.default_rng(n_prompt)
    tokens = generator.integers(0, EOT, (n_group, n_prompt + 12))
    tokens[:, :n_prompt] = tokens[0, :n_prompt]
    expected = pair.logits(tokens.tolist(), window=0)
    with pair.ours.start(pair.ours.encode(pair.mel[:1]), n_group) as session:
        positions = (0, n_prompt // 2, n_prompt - 1)
        prefilled = session.prefill(tokens[0, :n_prompt].tolist(), positions)
        assert_close(prefilled, expected[0, list(positions)], pair.tolerance)
        for i in range(n_prompt, n_prompt + 12):
            assert_close(session.step(tokens[:, i]), expected[:, i], pair.tolerance)


def test_the_last_position_of_the_context(pair: Pair) -> None:
    tokens = np.random.default_rng(7).integers(0, EOT, 448).tolist()
    expected = pair.logits([tokens], window=0)[0]
    with pair.ours.start(pair.ours.encode(pair.mel[:1]), 1) as session:
        session.prefill(tokens[:446], (445,))
        for i in (446, 447):
            assert_close(
                session.step(np.array(tokens[i : i + 1])), expected[None, i], pair.tolerance
            )


def test_hypotheses_continue_their_sources(pair: Pair) -> None:
    prompt = [*PROMPT, 5, 6, 7]
    with pair.ours.start(pair.ours.encode(pair.mel[:1]), 5) as session:
        session.prefill(prompt, (5,))
        for text, logits in grown(session, prompt, EOT):
            assert_close(logits, pair.logits([text], window=0)[0, -1], pair.tolerance)


def test_alignment(pair: Pair) -> None:
    n_head = pair.ours.dims.n_text_head
    heads = [(1, n_head - 1), (0, 0), (1, 0)]
    tokens = [*PROMPT, *np.random.default_rng(1).integers(0, EOT, 61).tolist()]
    found = pair.ours.align(pair.ours.encode(pair.mel[:1]), tokens, heads)
    scores, logits = (
        float32_array(part)
        for part in cross_attention(pair.reference, pair.features[:1], tokens, heads)
    )
    # a row of scores has few large ones, so its norm is small beside its errors
    assert_close(found.cross_attention, scores, 5 * pair.tolerance)
    assert_close(found.logits, logits, pair.tolerance)


PATH_TOLERANCES = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}
"""By how much more a path may cost in the reference's matrix than the cheapest, of the latter.

Rounding may turn which of two nearly equal paths is taken, of which noise has many.
"""
PROBABILITY_TOLERANCES = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 0.5}
"""Relative: errors of logits of random weights, which have a deviation of about one."""


@pytest.mark.parametrize("n_windows", [1, 2, 7])
def test_texts_of_a_batch(pair: Pair, n_windows: int) -> None:
    """Texts of different lengths, one of them the longest, and positions of each."""
    generator, heads = np.random.default_rng(n_windows), ((1, 2), (0, 0), (1, 0))
    n_texts = [1, 224, 9, 100, 57, 31, 3][:n_windows]
    requests = [
        AlignmentRequest(
            *(PROMPT, 50363, tuple(generator.integers(0, EOT, n).tolist()), EOT, 1500 - 99 * i),
            heads,
        )
        for i, n in enumerate(n_texts)
    ]
    features = pair.ours.encode(pair.mel[:n_windows])
    for i, found in enumerate(pair.ours.align_batch(features, requests)):
        scores, logits = (
            float32_array(part)
            for part in cross_attention(
                pair.reference, pair.features[i : i + 1], requests[i].tokens, heads
            )
        )
        expected = align_text(Alignment(scores, logits), requests[i])
        np.testing.assert_allclose(
            found.probabilities, expected.probabilities, rtol=PROBABILITY_TOLERANCES[pair.dtype]
        )
        matrix = alignment_matrix(scores[:, :, : requests[i].n_positions])[len(PROMPT) : -1]
        cheapest = path_cost(-matrix, expected.positions)
        excess = path_cost(-matrix, found.positions) - cheapest
        assert excess <= PATH_TOLERANCES[pair.dtype] * abs(cheapest)


def path_cost(costs: FloatArray, entered: IntArray) -> float:
    """Cost of the path that enters each line in a given column, by the cheaper of both ways."""
    assert entered[0] == 0
    assert (np.diff(entered) >= 0).all()
    total = 0.0
    for line, (start, stop) in enumerate(zip(entered, [*entered[1:], costs.shape[1]], strict=True)):
        total += float(costs[line, start:stop].sum())
        if stop < costs.shape[1]:  # from above, or across
            below = float(costs[line, stop])
            total += below if start == stop else min(0.0, below)
    return total


def request(rules: TokenRules, search: Search, n_prompt: int = len(PROMPT)) -> DecodeRequest:
    previous = tuple(range(100, 100 + n_prompt - len(PROMPT)))
    return DecodeRequest((*previous, *PROMPT), len(previous), 448, MAX_NEW_TOKENS, rules, search)


def forced(
    pair: Pair, decoded_request: DecodeRequest, found: DecodedWindow, window: int
) -> tuple[float, float]:
    """The reference's sum of log-probabilities, and by how much it likes another token more."""
    sampled = list(found.tokens)
    text = [*decoded_request.prompt, *sampled]
    logits = pair.logits([text], window)[0, len(decoded_request.prompt) - 1 :]
    if len(sampled) < decoded_request.max_tokens:
        sampled.append(decoded_request.rules.eot)
    book, total, most = RuleBook(decoded_request.rules), 0.0, 0.0
    for i, token in enumerate(sampled):
        row = logits[i : i + 1].copy()
        (logsumexp,) = book.apply(row, [sampled[:i]])
        total += float(row[0, token] - logsumexp)
        most = max(most, float(row.max() - row[0, token]))
    return total, most


def check_sums(
    pair: Pair, requests: list[DecodeRequest], found: list[DecodedWindow], *, is_greedy: bool
) -> None:
    """Compare sums of log-probabilities, where logits have a deviation of about one."""
    for window, (each, decoded) in enumerate(zip(requests, found, strict=True)):
        total, gap = forced(pair, each, decoded, window)
        n_sampled = len(decoded.tokens) + 1
        assert abs(decoded.sum_logprob - total) <= 10 * pair.tolerance * n_sampled
        assert not is_greedy or gap <= 10 * pair.tolerance


@pytest.mark.parametrize("rules", [RULES, TEXT_RULES], ids=["timestamps", "text"])
@pytest.mark.parametrize("n_windows", [1, 3, N_WINDOWS])
def test_greedy(pair: Pair, rules: TokenRules, n_windows: int) -> None:
    if rules.with_timestamps and not pair.is_exact:
        pytest.skip(
            "rounding may transpose whether timestamps outweigh text, on which all else depends"
        )
    requests = [request(rules, Search(), 3 + 11 * (i % 3)) for i in range(n_windows)]
    features = pair.ours.encode(pair.mel[:n_windows])
    found = pair.ours.decode_batch(features, requests)
    check_sums(pair, requests, found, is_greedy=True)


@pytest.mark.parametrize("n_beams", [2, 5, 7, 8])
def test_beams(pair: Pair, n_beams: int) -> None:
    """The device's loop takes seven beams; more are decoded by the host's."""
    search = Search(n_group=n_beams, is_beam_search=True)
    for rules, n_windows in ((RULES, 1), (TEXT_RULES, 2)) if pair.is_exact else ((TEXT_RULES, 2),):
        requests = [request(rules, search)] * n_windows
        features = pair.ours.encode(pair.mel[:n_windows])
        found = pair.ours.decode_batch(features, requests)
        check_sums(pair, requests, found, is_greedy=False)
        if pair.is_exact:  # else rounding may turn which of two beams is kept
            for i, each in enumerate(requests):
                alone = Implementation.decode(pair.ours, features[i], each)
                assert found[i].tokens == alone.tokens
                assert abs(found[i].sum_logprob - alone.sum_logprob) <= 1e-3


def test_samples(pair: Pair) -> None:
    search = Search(temperature=0.7, n_group=5, seed=(3,))
    requests = [request(TEXT_RULES, search)] * 2
    found = pair.ours.decode_batch(pair.ours.encode(pair.mel[:2]), requests)
    check_sums(pair, requests, found, is_greedy=False)
