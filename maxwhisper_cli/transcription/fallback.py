"""Decoding of a window with temperature fallback: again, hotter, if the text looks wrong.

Source: `decode_with_fallback` of whisper/transcribe.py; section 4.5 of arXiv:2212.04356.
"""

import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from implementations.request import DecodedWindow
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.steps import Decoding
from maxwhisper_cli.transcription.window_request import RequestBuilder


@dataclass(frozen=True, slots=True)
class WindowText:
    """Decoded tokens of a window, with the figures that decide on fallback and silence."""

    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    language: str | None = None
    """Code of the language detected in it; None if it was not looked for."""

    def is_silence(self, options: TranscribeOptions) -> bool:
        """Returns True if the window counts as silence and is to be skipped."""
        if options.no_speech_threshold is None:
            return False
        threshold = options.logprob_threshold
        is_likely = threshold is not None and self.avg_logprob > threshold
        return self.no_speech_prob > options.no_speech_threshold and not is_likely


def compression_ratio(text: str) -> float:
    """Returns the size of the text over its size after zlib; repetitive text compresses most."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


def decode_with_fallback(
    audio_features: AudioFeatures,
    builder: RequestBuilder,
    previous_tokens: Sequence[int],
    seek: int,
) -> Generator[Decoding, None, WindowText]:
    """Decodes one window at each temperature in turn until the text passes the thresholds.

    If none passes, the last decoding is returned. Sampling is seeded by window and temperature, so
    that a window's text does not depend on the number of samples before it.
    """
    options = builder.options
    for index, temperature in enumerate(options.temperatures):
        request = builder.build(previous_tokens, temperature, (options.seed, seek, index))
        decoding = Decoding(audio_features, request)
        yield decoding
        result = make_window_text(decoding.answer, temperature, builder)
        if not needs_fallback(result, options):
            break
    return result


def make_window_text(
    decoded: DecodedWindow, temperature: float, builder: RequestBuilder
) -> WindowText:
    """Returns prefix and tokens of a decoding with the figures that decide on fallback."""
    tokens = (*builder.prefix, *decoded.tokens)
    is_asked = builder.options.multilingual
    return WindowText(
        tokens=tokens,
        temperature=temperature,
        avg_logprob=decoded.avg_logprob,
        compression_ratio=compression_ratio(builder.tokenizer.decode(tokens).strip()),
        no_speech_prob=decoded.no_speech_prob,
        language=builder.tokenizer.language if is_asked else None,
    )


def needs_fallback(result: WindowText, options: TranscribeOptions) -> bool:
    """Returns True if the window is to be decoded again at a higher temperature."""
    is_unlikely = (
        options.logprob_threshold is not None and result.avg_logprob < options.logprob_threshold
    )
    if (
        is_unlikely
        and options.no_speech_threshold is not None
        and result.no_speech_prob > options.no_speech_threshold
    ):
        return False  # silence: sampling would only invent text
    is_repetitive = (
        options.compression_ratio_threshold is not None
        and result.compression_ratio > options.compression_ratio_threshold
    )
    return is_repetitive or is_unlikely
