"""Whisper's tokenizer, typed and without torch.

Text to tokens and back, special tokens, and the tokens of non-speech. The vocabularies and rules
are the installed openai-whisper's; this module gives them types and one object per vocabulary,
language and task. It chooses no tokens and depends on no model.

Tokens are spelled out from the lines of the vocabulary's file. Only text that is to become tokens,
such as a prompt, needs tiktoken's tables, which take longer to build than short speech to decode.
"""

import string
from binascii import a2b_base64
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from threading import RLock
from typing import Any, Literal

from maxwhisper_cli.transcription import non_speech_tokens
from maxwhisper_cli.transcription.languages import language_names, parse_language
from maxwhisper_cli.transcription.upstream import tokenizer_module, whisper_package_folder

Task = Literal["transcribe", "translate"]

_MAKING = RLock()
_BROKEN = "\ufffd"
"""Stands for bytes that are no character, or not yet."""
_WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}
"""Languages whose words are not told apart by spaces."""
_N_TIMESTAMPS = 1501
_BLANK = 220
"""The token of a space, in every vocabulary."""


class Tokenizer:
    """One vocabulary with a language and a task; immutable, safe to share between threads."""

    blank_tokens = (_BLANK,)
    """Tokens of a text that is one space."""

    def __init__(
        self, *, is_multilingual: bool, num_languages: int, language: str | None, task: Task | None
    ) -> None:
        self._file = "multilingual" if is_multilingual else "gpt2"
        self._spellings: dict[int, bytes] = {}
        self._pieces: dict[int, str] = {}
        self.num_languages = num_languages
        """Number of language tokens in the vocabulary: 99 or 100."""
        self.language = language or "en" if is_multilingual else None
        """Language code; None for an English-only vocabulary."""
        self.task: Task | None = task or "transcribe" if is_multilingual else None
        """Task; None for an English-only vocabulary."""
        self._lines = _vocabulary_lines(self._file)
        names = _special_names(tuple(language_names(num_languages)))
        self.special_tokens = {name: len(self._lines) + i for i, name in enumerate(names)}
        """`{"<|endoftext|>": 50257, ..., "<|30.00|>": 51864}`."""
        self._special_names = names
        special = self.special_tokens
        self.eot = special["<|endoftext|>"]
        self.sot = special["<|startoftranscript|>"]
        self.sot_prev = special["<|startofprev|>"]
        self.sot_lm = special["<|startoflm|>"]
        self.no_speech = special["<|nospeech|>"]
        self.no_timestamps = special["<|notimestamps|>"]
        self.timestamp_begin = special["<|0.00|>"]
        """The token `<|0.00|>`; each one after it is 20 ms later, up to `<|30.00|>`."""
        self.transcribe = special["<|transcribe|>"]
        self.translate = special["<|translate|>"]
        sot_sequence = [self.sot]
        if self.language is not None:
            sot_sequence.append(special[f"<|{self.language}|>"])
        if self.task is not None:
            sot_sequence.append(special[f"<|{self.task}|>"])
        self.sot_sequence = tuple(sot_sequence)
        """First tokens of a decoded window: start, then language and task if there are any."""
        self.sot_sequence_including_notimestamps = (*self.sot_sequence, self.no_timestamps)
        self.non_speech_tokens: tuple[int, ...] = (
            non_speech_tokens.MULTILINGUAL if is_multilingual else non_speech_tokens.ENGLISH_ONLY
        )
        """Tokens of speaker tags, music notes, brackets: sounds written down, sorted."""

    @property
    def n_vocab(self) -> int:
        """Token count; equals `ModelDimensions.n_vocab` of the model that it serves."""
        return len(self._lines) + len(self.special_tokens)

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of plain text.

        Raises:
            ValueError: The text contains the spelling of a special token.
        """
        return list(self._upstream.encode(text))

    def token_bytes(self, token: int) -> bytes:
        """Returns the bytes of a token, which alone may be no text."""
        return bytes(self._upstream.encoding.decode_single_token_bytes(token))

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text; timestamp tokens are dropped, broken UTF-8 becomes U+FFFD."""
        return self.decode_with_timestamps(t for t in tokens if t < self.timestamp_begin)

    def decode_with_timestamps(self, tokens: Iterable[int]) -> str:
        """Returns the text with its timestamp tokens spelled out: `<|0.00|> Hello<|1.08|>`."""
        return b"".join(map(self._bytes_of, tokens)).decode("utf-8", errors="replace")

    def to_language_token(self, language: str) -> int:
        """Returns the token of a language code.

        Raises:
            KeyError: This vocabulary has no such language.
        """
        return self.special_tokens[f"<|{language}|>"]

    @property
    def language_token(self) -> int:
        """Token of `language`.

        Raises:
            ValueError: The vocabulary is English-only.
        """
        if self.language is None:
            raise ValueError("an English-only vocabulary has no token of a language")
        return self.to_language_token(self.language)

    @cached_property
    def all_language_tokens(self) -> tuple[int, ...]:
        """One token per language in vocabulary order (upstream's order changes from run to run)."""
        return tuple(map(self.to_language_token, language_names(self.num_languages)))

    @cached_property
    def all_language_codes(self) -> tuple[str, ...]:
        """Codes of `all_language_tokens`."""
        return tuple(self.decode([token]).strip("<|>") for token in self.all_language_tokens)

    @cached_property
    def _upstream(self) -> Any:  # noqa: ANN401 - its module is loaded by location
        """Upstream's tokenizer, whose tables turn text into tokens."""
        return tokenizer_module().get_tokenizer(
            self.language is not None,
            num_languages=self.num_languages,
            language=self.language,
            task=self.task,
        )

    def _bytes_of(self, token: int) -> bytes:
        """Returns the bytes that a token stands for."""
        spelling = self._spellings.get(token)
        if spelling is None:
            n_text = len(self._lines)
            if not 0 <= token < n_text + len(self._special_names):
                raise KeyError(token)
            if token < n_text:
                spelling = a2b_base64(self._lines[token].partition(b" ")[0])
            else:
                spelling = self._special_names[token - n_text].encode()
            self._spellings[token] = spelling
        return spelling

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
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self.decode_with_timestamps([token])
        return piece


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
    return Tokenizer(
        is_multilingual=multilingual, num_languages=num_languages, language=language, task=task
    )


@lru_cache(maxsize=2)
def _vocabulary_lines(name: str) -> list[bytes]:
    """Returns the lines of a vocabulary's file, the token's number last: `IQ== 0`, by number."""
    path = whisper_package_folder() / "assets" / f"{name}.tiktoken"
    return path.read_bytes().splitlines()


@lru_cache(maxsize=4)
def _special_names(languages: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of the tokens that follow those of text, in their order."""
    names = ("endoftext", "startoftranscript", *languages, "translate", "transcribe")
    names += ("startoflm", "startofprev", "nospeech", "notimestamps")
    return tuple(
        f"<|{name}|>" for name in (*names, *(f"{i * 0.02:.2f}" for i in range(_N_TIMESTAMPS)))
    )
