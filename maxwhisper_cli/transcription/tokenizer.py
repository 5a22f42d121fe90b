"""Whisper's tokenizer, typed and without torch.

Text to tokens and back, special tokens, and the tokens of non-speech. The vocabularies and rules
are the installed openai-whisper's; this module gives them types and one object per vocabulary,
language and task. It chooses no tokens and depends on no model.
"""

import string
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from threading import RLock
from typing import Any, Literal

from maxwhisper_cli.transcription.languages import parse_language
from maxwhisper_cli.transcription.upstream import tokenizer_module

Task = Literal["transcribe", "translate"]

_MAKING = RLock()
_BROKEN = "\ufffd"
"""Stands for bytes that are no character, or not yet."""
_WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}
"""Languages whose words are not told apart by spaces."""


class Tokenizer:
    """One vocabulary with a language and a task; immutable, safe to share between threads."""

    def __init__(self, upstream: Any) -> None:  # noqa: ANN401 - its module is loaded by location
        self._upstream = upstream
        self._spellings: dict[int, str] = {}
        self.num_languages: int = upstream.num_languages
        """Number of language tokens in the vocabulary: 99 or 100."""
        self.language: str | None = upstream.language
        """Language code; None for an English-only vocabulary."""
        self.task: Task | None = upstream.task
        """Task; None for an English-only vocabulary."""
        self.special_tokens: dict[str, int] = dict(upstream.special_tokens)
        """`{"<|endoftext|>": 50257, ..., "<|30.00|>": 51864}`."""
        self.eot: int = upstream.eot
        self.sot: int = upstream.sot
        self.sot_prev: int = upstream.sot_prev
        self.sot_lm: int = upstream.sot_lm
        self.no_speech: int = upstream.no_speech
        self.no_timestamps: int = upstream.no_timestamps
        self.timestamp_begin: int = upstream.timestamp_begin
        """The token `<|0.00|>`; each one after it is 20 ms later, up to `<|30.00|>`."""
        self.transcribe: int = upstream.transcribe
        self.translate: int = upstream.translate
        self.sot_sequence: tuple[int, ...] = tuple(upstream.sot_sequence)
        """First tokens of a decoded window: start, then language and task if there are any."""
        self.sot_sequence_including_notimestamps: tuple[int, ...] = (
            *self.sot_sequence,
            self.no_timestamps,
        )

    @property
    def n_vocab(self) -> int:
        """Token count; equals `ModelDimensions.n_vocab` of the model that it serves."""
        return int(self._upstream.encoding.n_vocab)

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of plain text.

        Raises:
            ValueError: The text contains the spelling of a special token.
        """
        return list(self._upstream.encode(text))

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text; timestamp tokens are dropped, broken UTF-8 becomes U+FFFD."""
        return str(self._upstream.decode(list(tokens)))

    def decode_with_timestamps(self, tokens: Iterable[int]) -> str:
        """Returns the text with its timestamp tokens spelled out: `<|0.00|> Hello<|1.08|>`."""
        return str(self._upstream.decode_with_timestamps(list(tokens)))

    def to_language_token(self, language: str) -> int:
        """Returns the token of a language code.

        Raises:
            KeyError: This vocabulary has no such language.
        """
        return int(self._upstream.to_language_token(language))

    @property
    def language_token(self) -> int:
        """Token of `language`.

        Raises:
            ValueError: The vocabulary is English-only.
        """
        return int(self._upstream.language_token)

    @cached_property
    def all_language_tokens(self) -> tuple[int, ...]:
        """One token per language in vocabulary order (upstream's order changes from run to run)."""
        return tuple(sorted(self._upstream.all_language_tokens))

    @cached_property
    def all_language_codes(self) -> tuple[str, ...]:
        """Codes of `all_language_tokens`."""
        return tuple(self.decode([token]).strip("<|>") for token in self.all_language_tokens)

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Tokens of speaker tags, music notes, brackets: sounds written down, sorted."""
        return tuple(self._upstream.non_speech_tokens)

    def split_to_word_tokens(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Splits tokens into words, by spaces or by character where a language uses none.

        The words are those of openai-whisper's `split_to_word_tokens`, which decodes each token
        anew.

        Returns:
            The words and, for each, its tokens; joined they give all the text and all the tokens.
        """
        pieces, piece_tokens = self._split_to_characters(tokens)
        if self.language in _WITHOUT_SPACES:
            return pieces, piece_tokens
        words: list[str] = []
        word_tokens: list[list[int]] = []
        for piece, own in zip(pieces, piece_tokens, strict=True):
            begins = piece.startswith(" ") or piece.strip() in string.punctuation
            if begins or own[0] >= self.eot or not words:
                words.append(piece)
                word_tokens.append(own)
            else:
                words[-1] += piece
                word_tokens[-1] += own
        return words, word_tokens

    def _split_to_characters(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Splits tokens wherever they end with a whole character, or a broken one of the text."""
        pieces: list[str] = []
        piece_tokens: list[list[int]] = []
        begun: list[int] = []
        whole, n_before = "", 0
        for token in tokens:
            begun.append(token)
            piece = self._spelling(token) if len(begun) == 1 else self.decode_with_timestamps(begun)
            at = piece.find(_BROKEN)
            if at >= 0:
                whole = whole or self.decode_with_timestamps(tokens)
                if whole[n_before + at] != _BROKEN:
                    continue
            pieces.append(piece)
            piece_tokens.append(begun)
            n_before += len(piece)
            begun = []
        return pieces, piece_tokens

    def _spelling(self, token: int) -> str:
        """Returns what a token alone decodes to."""
        spelling = self._spellings.get(token)
        if spelling is None:
            spelling = self._spellings[token] = self.decode_with_timestamps([token])
        return spelling


def get_tokenizer(
    multilingual: bool,  # noqa: FBT001 - the order and the names are upstream's
    *,
    num_languages: int = 99,
    language: str | None = None,
    task: Task | None = None,
) -> Tokenizer:
    """Returns the tokenizer of a vocabulary, the same object for the same arguments.

    Args:
        multilingual: True for a multilingual model (`ModelDimensions.is_multilingual`).
        num_languages: Language tokens in the vocabulary (`ModelDimensions.n_languages`).
        language: Code, English name or alias; English when None. Ignored if not multilingual.
        task: Task; transcribe when None. Ignored if not multilingual.

    Raises:
        LanguageError: Whisper does not know the language, or this vocabulary does not have it.
    """
    if not multilingual:
        language = task = None
    elif language is not None:
        language = parse_language(language, num_languages)
    with _MAKING:
        return _cached_tokenizer(multilingual, num_languages, language, task)


@lru_cache(maxsize=256)
def _cached_tokenizer(
    multilingual: bool,  # noqa: FBT001
    num_languages: int,
    language: str | None,
    task: Task | None,
) -> Tokenizer:
    upstream = tokenizer_module().get_tokenizer
    return Tokenizer(
        upstream(multilingual, num_languages=num_languages, language=language, task=task)
    )
