"""Decoding request of one window, from options, a prompt and a temperature.

Nothing is decoded here.

Source: the first half of `DecodingTask` in whisper/decoding.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from implementations.request import DecodeRequest, Search, TokenRules
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import Tokenizer
from weights.dims import ModelDimensions

_WINDOW_SECONDS = 30


def encode_text(tokenizer: Tokenizer, text: str, label: str) -> tuple[int, ...]:
    """Returns the tokens of a user's text, with the leading space of running text.

    Args:
        tokenizer: Tokenizer of the model.
        text: Text without special tokens.
        label: Name of the text in messages.

    Raises:
        OptionsError: The text contains the spelling of a special token.
    """
    try:
        return tuple(tokenizer.encode(" " + text.strip()))
    except ValueError as error:
        raise OptionsError(
            f"{label} contains a special token of Whisper's, such as <|endoftext|>; leave it out"
        ) from error


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """Builder of the requests of one transcription, which differ in prompt and temperature."""

    dims: ModelDimensions
    options: TranscribeOptions
    tokenizer: Tokenizer
    rules: TokenRules
    sot_sequence: tuple[int, ...]
    """Tokens after the previous text: <|startoftranscript|>, language, task."""
    max_new_tokens: int
    prefix: tuple[int, ...] = ()
    """Tokens that the window's text begins with: <|0.00|> where there are timestamps, and text."""

    @classmethod
    def create(
        cls, dims: ModelDimensions, options: TranscribeOptions, tokenizer: Tokenizer
    ) -> "RequestBuilder":
        """Computes the parts that all windows share.

        Raises:
            OptionsError: A token or prefix does not fit the model.
        """
        max_new_tokens = options.sample_len or dims.n_text_ctx // 2
        sot_sequence = tokenizer.sot_sequence
        if options.without_timestamps:
            sot_sequence = tokenizer.sot_sequence_including_notimestamps
        prefix: tuple[int, ...] = ()
        if options.prefix and options.prefix.strip():
            prefix = encode_text(tokenizer, options.prefix, "the prefix")
            if not options.without_timestamps:
                prefix = (tokenizer.timestamp_begin, *prefix)
        if len(sot_sequence) + len(prefix) >= dims.n_text_ctx // 2:
            raise OptionsError(f"the prefix is too long: {len(prefix)} tokens")
        rules = _rules(dims, options, tokenizer)
        _check_choice(rules, dims)
        return cls(dims, options, tokenizer, rules, sot_sequence, max_new_tokens, prefix)

    def without_prefix(self) -> "RequestBuilder":
        """Returns the builder for windows after the first."""
        return replace(self, prefix=()) if self.prefix else self

    def build(
        self, previous_tokens: Sequence[int], temperature: float, seed: tuple[int, ...]
    ) -> DecodeRequest:
        """Returns the request for a window that follows `previous_tokens`."""
        prompt = self.sot_sequence + self.prefix
        n_given, rules = len(self.prefix), self.rules
        if n_given and not rules.with_timestamps:
            # No rule looks back but that for the first token: the prefix is only more prompt,
            # behind which devices decode by themselves.
            n_given, rules = 0, replace(rules, suppressed_first=())
        if previous_tokens:
            max_previous = self.dims.n_text_ctx // 2 - 1
            prompt = (self.tokenizer.sot_prev, *previous_tokens[-max_previous:], *prompt)
        return DecodeRequest(
            prompt=prompt,
            sot_index=prompt.index(self.tokenizer.sot),
            n_text_ctx=self.dims.n_text_ctx,
            max_new_tokens=self.max_new_tokens,
            rules=rules,
            search=self._search(temperature, seed),
            n_given=n_given,
        )

    def _search(self, temperature: float, seed: tuple[int, ...]) -> Search:
        options = self.options
        is_beam_search = temperature == 0 and options.beam_size is not None
        n_group = (options.beam_size if temperature == 0 else options.best_of) or 1
        return Search(
            temperature=temperature,
            n_group=n_group,
            is_beam_search=is_beam_search,
            patience=options.patience or 1.0,
            length_penalty=options.length_penalty,
            seed=seed,
        )


def _rules(dims: ModelDimensions, options: TranscribeOptions, tokenizer: Tokenizer) -> TokenRules:
    suppressed = _suppressed(dims, options, tokenizer)
    if not options.without_timestamps:
        suppressed.add(tokenizer.no_timestamps)
    first = {*tokenizer.blank_tokens, tokenizer.eot} if options.suppress_blank else set()
    latest = None
    if options.max_initial_timestamp:
        steps = options.max_initial_timestamp / (_WINDOW_SECONDS / dims.n_audio_ctx)
        latest = round(min(steps, dims.n_audio_ctx))
    return TokenRules(
        eot=tokenizer.eot,
        timestamp_begin=tokenizer.timestamp_begin,
        no_speech=tokenizer.no_speech,
        suppressed=tuple(sorted(suppressed)),
        suppressed_first=tuple(sorted(first)),
        with_timestamps=not options.without_timestamps,
        max_initial_timestamp=latest,
    )


def _suppressed(
    dims: ModelDimensions, options: TranscribeOptions, tokenizer: Tokenizer
) -> set[int]:
    """Returns the tokens that are never sampled; none if the option is empty, as upstream."""
    if not options.suppress_tokens:
        return set()
    chosen = set(options.suppress_tokens)
    if unknown := sorted(token for token in chosen if not -1 <= token < dims.n_vocab):
        raise OptionsError(
            f"suppress_tokens has {unknown[0]}; tokens are 0 to {dims.n_vocab - 1}, or -1"
        )
    if -1 in chosen:
        chosen = (chosen - {-1}) | set(tokenizer.non_speech_tokens)
    return chosen | {
        tokenizer.transcribe,
        tokenizer.translate,
        tokenizer.sot,
        tokenizer.sot_prev,
        tokenizer.sot_lm,
        tokenizer.no_speech,
    }


def _check_choice(rules: TokenRules, dims: ModelDimensions) -> None:
    """Checks that the rules leave tokens to choose from at every step.

    A window with timestamps needs a first one, and text or its end behind any. Other steps always
    have what the step before them had.

    Raises:
        OptionsError: They leave none.
    """
    never = set(rules.suppressed)
    begin, end = rules.timestamp_begin, dims.n_vocab
    if rules.with_timestamps:
        if rules.max_initial_timestamp is not None:
            end = min(end, begin + rules.max_initial_timestamp + 1)
        needed = [range(begin, end), range(begin)]
    else:
        needed = [range(end)]
        never |= set(rules.suppressed_first)
    if any(all(token in never for token in tokens) for tokens in needed):
        raise OptionsError("suppress_tokens leaves no token to choose; suppress fewer")
