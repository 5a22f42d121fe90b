"""Decoding of the audio so far: the encoder's window, the text behind final words, their times.

A hypothesis is decoded greedily behind the words that are final, which are its prefix, and without
timestamps; the times of words come from an alignment. What is needed of the model is yielded, so
that many streams may be decoded together (`drive.py`).
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Implementation
from implementations.session import AudioFeatures
from maxwhisper_cli.listen.options import ListenOptions
from maxwhisper_cli.transcription.fallback import (
    WindowText,
    compression_ratio,
    decode_with_fallback,
    needs_fallback,
)
from maxwhisper_cli.transcription.language_id import detect_language
from maxwhisper_cli.transcription.mel import Float32
from maxwhisper_cli.transcription.options import APPENDED, PREPENDED, TranscribeOptions
from maxwhisper_cli.transcription.steps import Aligning, Decoding, Need
from maxwhisper_cli.transcription.tokenizer import Tokenizer, get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder, encode_text
from maxwhisper_cli.transcription.word_timing import choose_heads
from maxwhisper_cli.transcription.words import SpelledText, TimedWord, merge_punctuations

POSITIONS_PER_SECOND: Final = 50
_TOKENS_PER_SECOND: Final = 12
"""More than anybody says; a hypothesis with more is a loop."""
_MIN_NEW_TOKENS: Final = 8
_MAX_CONTEXT_TOKENS: Final = 96
_RUN_WORDS: Final = 6
_RUN_SECONDS: Final = 0.6
"""Nobody says so many words in so short a time."""
_LANGUAGE_SECONDS: Final = 4.0
"""Speech after which a detected language is no longer changed."""
_RETRIES: Final = (0.0, 0.4, 0.8)
"""Temperatures of an utterance's last hypothesis; those before it are decoded at 0 alone."""


class WindowEncoding(Need[AudioFeatures]):
    """Need of the encoder's output for mel frames, a batch of one."""

    def __init__(self, fill: Callable[[Float32], None]) -> None:
        self.fill = fill
        """Writes them, [n_mels, 2 * n_audio_ctx]; called once, in any thread."""


LiveNeed: TypeAlias = WindowEncoding | Decoding | Aligning


@dataclass(frozen=True, slots=True)
class Audio:
    """The audio of a hypothesis, and the text that is known of it."""

    fill: Callable[[Float32], None]
    """Writes the encoder's window, [n_mels, 2 * n_audio_ctx]."""
    seconds: float
    """Length of the audio in it."""
    prefix: tuple[int, ...]
    """Tokens of the final words in it."""
    n_new_seconds: float
    """Seconds behind the last final word."""
    is_last: bool
    """True if no more audio belongs to it."""


class LiveDecoder:
    """Decoder of one stream, with its language and the text before the audio."""

    def __init__(self, implementation: Implementation, options: ListenOptions) -> None:
        """Prepares the requests.

        Raises:
            OptionsError: The model lacks the language, or heads whose attention follows the audio.
        """
        self._implementation = implementation
        self._options = options
        dims = implementation.dims
        self.language = options.language if dims.is_multilingual else "en"
        """Code of the language; None before it was detected."""
        self._is_language_held = self.language is not None
        self._first = self._transcribe_options((0.0,))
        self._last = replace(self._first, temperatures=_RETRIES)
        self._heads = choose_heads(implementation, self._first)
        self._builders: dict[str, RequestBuilder] = {}
        self._context: list[int] = []
        if self.language is not None:
            self._builder(self.language)
        if options.initial_prompt is not None:
            tokenizer = self._tokenizer(self.language)
            self._context = [*encode_text(tokenizer, options.initial_prompt, "the initial prompt")]

    def add_context(self, tokens: Sequence[int]) -> None:
        """Adds tokens of final words whose audio is no longer decoded."""
        if self._options.condition_on_previous_text:
            self._context = [*self._context, *tokens][-_MAX_CONTEXT_TOKENS:]

    def hypothesis(self, audio: Audio) -> Generator[LiveNeed, None, list[TimedWord] | None]:
        """Decodes the words behind the prefix; None if the text is not to be believed."""
        encoding = WindowEncoding(audio.fill)
        yield encoding
        features = encoding.answer
        builder = self._request_builder(features, audio)
        text = yield from decode_with_fallback(features, builder, self._context, 0)
        tokenizer, options = builder.tokenizer, builder.options
        n_prefix = len(audio.prefix)
        new = tuple(token for token in text.tokens[n_prefix:] if token < tokenizer.eot)
        if text.is_silence(options) and not n_prefix:
            return []
        if self._is_loop(text, new, builder) and not audio.is_last:
            return None
        if not new:
            return []
        request = self._alignment_request(tokenizer, (*audio.prefix, *new), audio.seconds)
        aligning = Aligning(features, request)
        yield aligning
        aligned = aligning.answer
        own = TokenAlignment(aligned.positions[n_prefix:], aligned.probabilities[n_prefix:])
        words = SpelledText(new, tokenizer).timed(own, POSITIONS_PER_SECOND)
        merge_punctuations(words, PREPENDED, APPENDED)
        return believable([word for word in words if word.word])

    def _is_loop(self, text: WindowText, new: Sequence[int], builder: RequestBuilder) -> bool:
        """Returns True if the text repeats itself."""
        threshold = builder.options.compression_ratio_threshold
        if len(new) >= builder.max_new_tokens or threshold is None:
            return True
        ratio = compression_ratio(builder.tokenizer.decode(new).strip())
        return ratio > threshold or (text.avg_logprob < -1 and needs_fallback(text, self._first))

    def _request_builder(self, features: AudioFeatures, audio: Audio) -> RequestBuilder:
        builder = self._builder(self._language_of(features, audio))
        n_new = _MIN_NEW_TOKENS + int(_TOKENS_PER_SECOND * audio.n_new_seconds)
        return replace(
            builder,
            options=self._last if audio.is_last else self._first,
            prefix=audio.prefix,
            max_new_tokens=min(n_new, builder.max_new_tokens),
        )

    def _language_of(self, features: AudioFeatures, audio: Audio) -> str:
        if not self._is_language_held:
            tokenizer = self._tokenizer(None)
            self.language = detect_language(self._implementation, [features], tokenizer).code
            self._is_language_held = audio.is_last or audio.seconds >= _LANGUAGE_SECONDS
        assert self.language is not None
        return self.language

    def _alignment_request(
        self, tokenizer: Tokenizer, text: tuple[int, ...], seconds: float
    ) -> AlignmentRequest:
        n_most = self._implementation.dims.n_text_ctx - len(tokenizer.sot_sequence) - 2
        return AlignmentRequest(
            sot_sequence=tokenizer.sot_sequence,
            no_timestamps=tokenizer.no_timestamps,
            text=text[:n_most],
            eot=tokenizer.eot,
            n_positions=max(2, int(seconds * POSITIONS_PER_SECOND)),
            heads=self._heads,
        )

    def _builder(self, language: str) -> RequestBuilder:
        if language not in self._builders:
            dims, tokenizer = self._implementation.dims, self._tokenizer(language)
            self._builders[language] = RequestBuilder.create(dims, self._first, tokenizer)
        return self._builders[language]

    def _tokenizer(self, language: str | None) -> Tokenizer:
        dims, task = self._implementation.dims, self._options.task
        return get_tokenizer(
            dims.is_multilingual, num_languages=dims.n_languages, language=language, task=task
        )

    def _transcribe_options(self, temperatures: tuple[float, ...]) -> TranscribeOptions:
        return TranscribeOptions(
            task=self._options.task,
            temperatures=temperatures,
            beam_size=None,
            best_of=None,
            without_timestamps=True,
        )


def believable(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Returns the words before the first that are said faster than anybody speaks.

    A decoder that repeats the sentence before gives it the time of the few words that are new.
    """
    for first, last in zip(words, words[_RUN_WORDS - 1 :], strict=False):
        if last.end - first.start < _RUN_SECONDS:
            return list(words[: words.index(first)])
    return list(words)
