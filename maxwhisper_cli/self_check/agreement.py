"""Comparison of an implementation with another one on one window: encoder, greedy, beams, batch.

Tokens must be equal. In half precision two tokens may be so close that rounding decides: where
texts part, the reference itself must be undecided between the two tokens.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from implementations.decoding.rules import RuleBook
from implementations.errors import ImplementationFailedError, NonFiniteLogitsError
from implementations.implementation import Implementation
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures, FloatArray
from maxwhisper_cli.parity.tolerances import TOLERANCES
from maxwhisper_cli.self_check.speech import speech_samples
from maxwhisper_cli.transcription.mel import N_FRAMES, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder

N_TOKENS = 32
"""Tokens of each text; they take a processor a few seconds, even with a large model."""
N_BEAMS = 5
N_WINDOWS = 8
"""Windows of the batch: kernels for many rows are other ones than for a few."""
FAULT = "it fails"
"""Beginning of a difference after which the device may answer nothing more in this process."""
_UNDECIDED: Mapping[str, float] = MappingProxyType(
    {"float32": 1e-3, "float16": 0.1, "bfloat16": 0.5, "int8": 0.5}
)
"""Log-probability by which rounding may move a token, by dtype; wrong sums move them by more."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """The reference's side."""

    implementation: Implementation
    features: AudioFeatures
    greedy: DecodedWindow
    beams: DecodedWindow
    requests: tuple[DecodeRequest, DecodeRequest]
    """For greedy decoding, and for beams."""


def find_difference(ours: Implementation, reference: Implementation) -> str | None:
    """Returns the first difference from the reference as a clause; None if there is none.

    Both hold the same weights. Faults of a device are differences, too little memory for a batch
    is none: nothing wrong comes of it.
    """
    mel = _mel(reference)
    features = reference.encode(mel)
    requests = _request(reference, None), _request(reference, N_BEAMS)
    greedy, beams = (reference.decode(features, request) for request in requests)
    texts = _Texts(reference, features, greedy, beams, requests)
    try:
        return next(_differences(ours, texts), None)
    except NonFiniteLogitsError:
        return "its logits are not numbers (NaN)"
    except (ImplementationFailedError, RuntimeError, ValueError) as error:
        return f"{FAULT} ({str(error).strip().splitlines()[0]:.120})"


def _differences(ours: Implementation, texts: _Texts) -> Iterator[str]:
    """Yields differences, from the lowest level to the highest."""
    mel = _mel(ours)
    features = ours.encode(mel)
    theirs = texts.features.numpy()
    distance = np.linalg.norm(features.numpy() - theirs) / np.linalg.norm(theirs)
    if not distance <= TOLERANCES[ours.dtype].states:
        yield f"its encoder is off by {distance:.1e} of the output"
    greedy, beams = texts.requests
    yield from _unequal(ours, ours.decode(features, greedy), texts, "greedily")
    yield from _unequal_beams(ours, ours.decode(features, beams), texts)
    together = _batch(ours, mel, greedy)
    for decoded in together:
        yield from _unequal(ours, decoded, texts, f"in a batch of {N_WINDOWS}")


def _batch(ours: Implementation, mel: FloatArray, request: DecodeRequest) -> list[DecodedWindow]:
    """Returns the window decoded several times side by side; none if memory does not suffice."""
    try:
        features = ours.encode(np.repeat(mel, N_WINDOWS, axis=0))
        return ours.decode_batch(features, [request] * N_WINDOWS)
    except NonFiniteLogitsError:
        raise
    except ImplementationFailedError:
        return []


def _unequal(
    ours: Implementation, decoded: DecodedWindow, texts: _Texts, how: str
) -> Iterator[str]:
    """Yields a difference of tokens that rounding does not explain."""
    expected = texts.greedy.tokens
    at = _first_difference(decoded.tokens, expected)
    if at is None:
        return
    eot = texts.requests[0].rules.eot
    chosen, better = ((*tokens, eot)[at] for tokens in (decoded.tokens, expected))
    margin = _margin(texts, at, better, chosen)
    if not margin <= _UNDECIDED[ours.dtype]:
        yield (
            f"decoding {how}, token {at + 1} is {chosen} instead of {better}, which is"
            f" {margin:.2g} more probable (logarithm)"
        )


def _unequal_beams(ours: Implementation, decoded: DecodedWindow, texts: _Texts) -> Iterator[str]:
    """Yields a difference of the best hypothesis that rounding does not explain."""
    expected = texts.beams
    difference = abs(decoded.avg_logprob - expected.avg_logprob)
    if decoded.tokens != expected.tokens and not difference <= _UNDECIDED[ours.dtype]:
        at = _first_difference(decoded.tokens, expected.tokens)
        yield f"with {N_BEAMS} beams, tokens differ from the {(at or 0) + 1}. on"


def _first_difference(ours: tuple[int, ...], expected: tuple[int, ...]) -> int | None:
    """Returns the index of the first token that differs, the end being one; None if all agree."""
    if ours == expected:
        return None
    pairs = zip(ours, expected, strict=False)
    shorter = min(len(ours), len(expected))
    return next((at for at, (one, other) in enumerate(pairs) if one != other), shorter)


def _margin(texts: _Texts, at: int, better: int, chosen: int) -> float:
    """Returns by how much the reference prefers its own token, in log-probability."""
    request, sampled = texts.requests[0], list(texts.greedy.tokens[:at])
    prompt = [*request.prompt, *sampled]
    with texts.implementation.start(texts.features, 1) as session:
        logits = session.prefill(prompt, (len(prompt) - 1,)).copy()
    RuleBook(request.rules).apply(logits, [sampled])
    return float(logits[0, better] - logits[0, chosen])


def _mel(implementation: Implementation) -> FloatArray:
    """Returns one window, [1, n_mels, 3000], as the implementation computes it."""
    n_mels = implementation.dims.n_mels
    with MelSpectrogram([speech_samples()], n_mels, transform=implementation.log_mel) as mel:
        window = mel.padded_window(0, min(N_FRAMES, mel.n_content_frames))
    return np.asarray(window[None], np.float32)


def _request(implementation: Implementation, beam_size: int | None) -> DecodeRequest:
    """Returns the request for a short text at temperature 0."""
    dims = implementation.dims
    options = TranscribeOptions(beam_size=beam_size, sample_len=N_TOKENS, language="en")
    tokenizer = get_tokenizer(
        dims.is_multilingual,
        num_languages=dims.n_languages,
        language="en",
        task="transcribe",
    )
    return RequestBuilder.create(dims, options, tokenizer).build((), 0.0, (0, 0, 0))
