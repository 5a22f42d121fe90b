"""Decoding request and result of one window, as plain data that any device can take."""

import math
from dataclasses import dataclass, field

from implementations.errors import NonFiniteLogitsError


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Constraints on the next token, as data (source: the logit filters of whisper/decoding.py)."""

    eot: int
    timestamp_begin: int
    """First timestamp token, <|0.00|>; each next one is 20 ms later."""
    no_speech: int | None
    """Token whose probability after <|startoftranscript|> is the probability of silence."""
    suppressed: tuple[int, ...] = ()
    """Tokens that are never sampled; <|notimestamps|> is one of them if timestamps are wanted."""
    suppressed_first: tuple[int, ...] = ()
    """Tokens that are never sampled first: blank and end of text."""
    with_timestamps: bool = True
    """True if timestamps come in pairs, never decrease, and begin the window."""
    max_initial_timestamp: int | None = None
    """Latest first timestamp, in steps of 20 ms."""


@dataclass(frozen=True, slots=True)
class Search:
    """Search method: greedy decoding, sampling or beam search, with its parameters."""

    temperature: float = 0.0
    n_group: int = 1
    """Hypotheses held at once: beams at temperature 0, samples above it."""
    is_beam_search: bool = False
    patience: float = 1.0
    """Beam search ends after `max_finished` hypotheses that ended (arXiv:2204.05424)."""
    length_penalty: float | None = None
    """Alpha of the GNMT length penalty (arXiv:1609.08144); None divides by the length."""
    seed: tuple[int, ...] = (0,)
    """Seeds sampling; the same seed and logits give the same tokens."""

    @property
    def max_finished(self) -> int:
        """Number of ended hypotheses after which a beam search stops."""
        return round(self.n_group * self.patience)


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One window's decoding at one temperature."""

    prompt: tuple[int, ...]
    """Prompt tokens: previous text, <|startoftranscript|>, language, task, prefix."""
    sot_index: int
    """Index of <|startoftranscript|> in the prompt."""
    n_text_ctx: int
    """The decoder's positions: prompt and output together stay within them."""
    max_new_tokens: int
    rules: TokenRules
    search: Search
    n_given: int = 0
    """Last tokens of the prompt that count as sampled: the rules continue after them."""

    @property
    def max_tokens(self) -> int:
        """Largest number of tokens to sample; the last one needs no position."""
        return min(self.max_new_tokens, self.n_text_ctx - len(self.prompt) + 1)


@dataclass(frozen=True, slots=True)
class DecodedWindow:
    """The chosen hypothesis for a window.

    Raises:
        NonFiniteLogitsError: The log-probability is not finite, as after NaN logits on a device.
    """

    tokens: tuple[int, ...]
    """Sampled tokens, timestamps included, end of text left out."""
    sum_logprob: float
    """Sum of log-probabilities under the rules, end of text included."""
    no_speech_prob: float
    """Probability of silence, or NaN if the vocabulary has no such token."""
    n_steps: int
    """Decoder passes after the prompt's."""
    prompt_seconds: float = field(default=0.0, compare=False)
    """Seconds until the prompt was fed, cross-attention KV included; 0 if not measured."""
    steps_seconds: float = field(default=0.0, compare=False)
    """Seconds of all steps, token choice included; 0 if not measured."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.sum_logprob):
            raise NonFiniteLogitsError

    @property
    def avg_logprob(self) -> float:
        """Mean log-probability per token, end of text counted."""
        return self.sum_logprob / (len(self.tokens) + 1)
