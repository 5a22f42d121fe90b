"""Ladder of comparisons with `cpu` on one recording, from the weights to the text.

Each rung takes `cpu`'s value of the rung below as its input if possible, so that the first red one
is the origin of the error.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from implementations.diagnostics import diagnostics
from implementations.implementation import Implementation
from implementations.request import DecodeRequest
from implementations.session import AudioFeatures, FloatArray
from maxwhisper_cli.parity.rungs import Distance, Rung, array_rung, measure, sequence_rung
from maxwhisper_cli.parity.tolerances import TOLERANCES, Tolerance
from maxwhisper_cli.transcription.drivers import decode_in_turn
from maxwhisper_cli.transcription.longform import TranscriptionRun
from maxwhisper_cli.transcription.mel import N_FRAMES, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from weights.errors import MaxWhisperError


@dataclass(frozen=True, slots=True)
class Reference:
    """Results of `cpu` for a recording, with which every rung compares."""

    samples: FloatArray
    mel: FloatArray
    """Mel of the first window, [1, n_mels, 3000]."""
    states: list[FloatArray]
    audio_features: AudioFeatures
    request: DecodeRequest
    """Decoding request of the first window."""
    tokens: tuple[int, ...]
    """Decoded tokens, fed to both sides for the logits of each step."""
    logits: FloatArray
    """Logits after the prompt and after each token, [n_tokens + 1, n_vocab]."""
    transcript: Transcript


def make_reference(
    cpu: Implementation, samples: FloatArray, options: TranscribeOptions
) -> Reference:
    """Runs `cpu` over a recording once, as the reference of all implementations.

    Raises:
        MaxWhisperError: The recording is empty.
    """
    if not len(samples):
        raise MaxWhisperError("parity needs a recording with sound in it")
    mel, transcript = _transcribe(cpu, samples, options)
    audio_features = cpu.encode(mel)
    request = _first_request(cpu, options, transcript.language)
    tokens = cpu.decode(audio_features, request).tokens
    return Reference(
        samples=samples,
        mel=mel,
        states=diagnostics(cpu).trace_encoder(mel),
        audio_features=audio_features,
        request=request,
        tokens=tokens,
        logits=_step_logits(cpu, audio_features, request, tokens),
        transcript=transcript,
    )


def climb(
    ours: Implementation, cpu: Implementation, reference: Reference, options: TranscribeOptions
) -> Iterator[Rung]:
    """Compares an implementation with the reference, from the lowest rung to the highest."""
    tolerance = TOLERANCES[ours.dtype]
    yield _weights(ours, cpu, tolerance)
    mel, transcript = _transcribe(ours, reference.samples, options)
    yield array_rung("mel", mel, reference.mel, tolerance.mel)
    yield from _states(ours, reference, tolerance)
    audio_features = ours.encode(reference.mel)
    yield _encoder_output(audio_features, reference, tolerance)
    yield from _logits(ours, audio_features, reference, tolerance)
    yield from _text(transcript, reference.transcript, tolerance)


def _weights(ours: Implementation, cpu: Implementation, tolerance: Tolerance) -> Rung:
    """Compares all weights at once: names, count, and the largest difference."""
    mine, theirs = dict(diagnostics(ours).weights()), dict(diagnostics(cpu).weights())
    if mine.keys() != theirs.keys():
        unlike = sorted(mine.keys() ^ theirs.keys())
        note = f"{len(unlike)} names differ, the first {unlike[0]}"
        return Rung("weights", passed=False, limit=tolerance.weights, note=note)
    distances = [measure(mine[name], theirs[name]) for name in theirs]
    worst = Distance(
        max_abs=max(d.max_abs for d in distances),
        relative=max(d.relative for d in distances),
        cosine=min(d.cosine for d in distances),
    )
    return Rung(
        "weights",
        passed=worst.max_abs <= tolerance.weights,
        limit=tolerance.weights,
        distance=worst,
        note=f"{len(theirs)} tensors",
    )


def _states(ours: Implementation, reference: Reference, tolerance: Tolerance) -> Iterator[Rung]:
    states = diagnostics(ours).trace_encoder(reference.mel)
    for index, (mine, theirs) in enumerate(zip(states, reference.states, strict=True)):
        name = f"encoder block {index}" if index else "convolutions"
        yield array_rung(name, mine, theirs, tolerance.states, is_relative=True)


def _encoder_output(
    audio_features: AudioFeatures, reference: Reference, tolerance: Tolerance
) -> Rung:
    ours, theirs = audio_features.numpy(), reference.audio_features.numpy()
    limit, is_relative = tolerance.encoder, tolerance.is_relative
    return array_rung("encoder output", ours, theirs, limit, is_relative=is_relative)


def _logits(
    ours: Implementation,
    audio_features: AudioFeatures,
    reference: Reference,
    tolerance: Tolerance,
) -> Iterator[Rung]:
    """Compares logits after `cpu`'s tokens, so that early differences do not hide later ones."""
    logits = _step_logits(ours, audio_features, reference.request, reference.tokens)
    for name, part in (("first logits", slice(0, 1)), ("per-step logits", slice(1, None))):
        yield array_rung(
            name,
            logits[part],
            reference.logits[part],
            tolerance.logits,
            is_relative=tolerance.is_relative,
        )


def _text(ours: Transcript, theirs: Transcript, tolerance: Tolerance) -> Iterator[Rung]:
    must_be_equal = tolerance.has_equal_tokens
    yield sequence_rung("tokens", _tokens(ours), _tokens(theirs), must_be_equal=must_be_equal)
    yield sequence_rung("segments", _times(ours), _times(theirs), must_be_equal=must_be_equal)
    yield sequence_rung("text", ours.text, theirs.text, must_be_equal=must_be_equal)


def _tokens(transcript: Transcript) -> list[int]:
    return [token for segment in transcript.segments for token in segment.tokens]


def _times(transcript: Transcript) -> list[str]:
    return [f"{segment.start:.2f}-{segment.end:.2f} s" for segment in transcript.segments]


def _transcribe(
    implementation: Implementation, samples: FloatArray, options: TranscribeOptions
) -> tuple[FloatArray, Transcript]:
    """Returns the first mel window [1, n_mels, 3000], and the whole transcript."""
    n_mels = implementation.dims.n_mels
    with MelSpectrogram([samples], n_mels, transform=implementation.log_mel) as mel:
        run = TranscriptionRun(implementation, mel, options)
        for _ in decode_in_turn(implementation, run):
            pass
        window = mel.padded_window(0, min(N_FRAMES, mel.n_content_frames))
        return window[None], run.transcript


def _first_request(
    implementation: Implementation, options: TranscribeOptions, language: str
) -> DecodeRequest:
    dims = implementation.dims
    tokenizer = get_tokenizer(
        dims.is_multilingual,
        num_languages=dims.n_languages,
        language=language,
        task=options.task,
    )
    builder = RequestBuilder.create(dims, options, tokenizer)
    return builder.build((), options.temperatures[0], (options.seed, 0, 0))


def _step_logits(
    implementation: Implementation,
    audio_features: AudioFeatures,
    request: DecodeRequest,
    tokens: tuple[int, ...],
) -> FloatArray:
    """Returns logits after the prompt and after each token, [n_tokens + 1, n_vocab]."""
    with implementation.start(audio_features, 1) as session:
        rows = [session.prefill(request.prompt, (len(request.prompt) - 1,))[0].copy()]
        max_steps = request.n_text_ctx - len(request.prompt)
        rows += [session.step(np.array([token]))[0].copy() for token in tokens[:max_steps]]
    return np.stack(rows)
