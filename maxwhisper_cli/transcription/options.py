"""Options of a transcription: openai-whisper's, with its command line's defaults."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, get_args

from maxwhisper_cli.transcription.option_types import (
    OptionsError,
    attention_head,
    flag,
    real,
    several,
    text,
    whole,
)
from maxwhisper_cli.transcription.vad_options import VadOptions

__all__ = ["OptionsError", "Task", "TranscribeOptions", "VadOptions"]

Task = Literal["transcribe", "translate"]

PREPENDED = "\"'“¿([{-"
"""Punctuation that openai-whisper joins to the word after it."""
APPENDED = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
"""Punctuation that openai-whisper joins to the word before it."""
AUTO_LANGUAGE = "auto"
"""Word for the language that is detected, as None is."""
AUTO_ROWS: Final = "auto"
"""Number of rows that the implementation chooses."""
MIN_TEMPERATURE = 0.001
"""Lowest temperature above 0; logits divided by less leave float32."""
_MAX_HYPOTHESES = 100
_MAX_WINDOWS = 1024

_hypotheses = partial(whole, minimum=1, maximum=_MAX_HYPOTHESES)
_seconds = partial(real, minimum=0)


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """Checked options of a transcription; vary them with `dataclasses.replace`."""

    task: Task = "transcribe"
    language: str | None = None
    """Code, tag or name such as `es`, `es-MX`, `spa`, `Spanish`, of which the code is stored. None,
    or `auto`, detects it from the first 30 s, with `vad` from the first 30 s with speech."""
    language_detection_segments: int = 1
    """Windows of 30 s whose mean probabilities decide on the language."""
    languages: tuple[str, ...] | None = None
    """Languages of which one is spoken, as `language` takes them; None is any."""
    multilingual: bool = False
    """True if the language is detected for each window; not in openai-whisper."""

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Temperatures to try in turn until a window's text passes the thresholds: 0, or 0.001 to 2."""
    beam_size: int | None = 5
    """Beams at temperature 0; None decodes greedily."""
    best_of: int | None = 5
    """Samples above temperature 0, of which the most probable is used."""
    patience: float | None = None
    """Beam search stops after beam_size * patience ended hypotheses; None means 1."""
    length_penalty: float | None = None
    """Alpha of the GNMT length penalty, 0 to 1; None divides by the length."""
    seed: int = 0
    """Seed of sampling: the same seed, audio and model give the same text."""

    compression_ratio_threshold: float | None = 2.4
    """Text that zlib compresses more than this counts as a repetition loop: decoded again."""
    logprob_threshold: float | None = -1.0
    """Text with a lower mean log-probability per token is decoded again."""
    no_speech_threshold: float | None = 0.6
    """Windows more probably silent than this, and below `logprob_threshold`, are skipped."""

    condition_on_previous_text: bool = True
    """True if a window's prompt is the text before it."""
    initial_prompt: str | None = None
    """Text before the first window: names, spelling, style."""
    carry_initial_prompt: bool = False
    """True if the initial prompt stays in front of every window's prompt."""
    prefix: str | None = None
    """Text that the transcript begins with, as in faster-whisper; openai-whisper leaves it out."""

    suppress_tokens: tuple[int, ...] = (-1,)
    """Tokens that are never sampled; -1 means everything that is not speech."""
    suppress_blank: bool = True
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0
    """Latest start of a window's first segment, in seconds."""
    sample_len: int | None = None
    """Largest number of tokens per window; None is half of the decoder's positions."""

    word_timestamps: bool = False
    """True if each segment gets its words with their times, and times of its own by them."""
    prepend_punctuations: str = PREPENDED
    """Marks that are joined to the word after them."""
    append_punctuations: str = APPENDED
    """Marks that are joined to the word before them."""
    hallucination_silence_threshold: float | None = None
    """Seconds of silence beside which words that look invented are left out, and the silence is
    skipped; needs `word_timestamps`."""
    alignment_heads: tuple[tuple[int, int], ...] | None = None
    """Heads of the decoder that word times are read from, as (layer, head); None is the model's
    own."""

    token_logprobs: bool = False
    """True if each segment gets the log-probabilities of its tokens; a further pass of the decoder
    over each window."""

    batch_size: int | Literal["auto"] = 1
    """Rows: windows decoded side by side, of one recording or several. Above 1 each recording is
    cut into parts of at most 30 s, and the text before a cut prompts nothing. `auto` is as many as
    pay on the device; it cuts a single recording, and leaves several whole: each is a row, with the
    text that it has alone with 1."""
    clip_timestamps: tuple[float, ...] = (0.0,)
    """Clips as start, end, start, end, ... in seconds; a missing last end is the audio's end."""
    vad: VadOptions | None = None
    """Voice activity detection: only what counts as speech is decoded; None decodes all."""
    clamp_timestamps: bool = False
    """True if no segment ends after the audio, as the model's timestamps may; not in
    openai-whisper."""
    speaker_names: tuple[str, ...] | None = None
    """Name of the speaker on each channel, if channels are split; None is `channel 1`, ..."""

    def __post_init__(self) -> None:
        """Checks the options, and stores them in their own types.

        Raises:
            OptionsError: An option is not understood or out of range, or contradicts another.
        """
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, check(name, value))
        if self.task not in get_args(Task):
            raise OptionsError(f"task is transcribe or translate, not {self.task!r}")
        self._check_language()
        self._check_search()
        if any(later < earlier for earlier, later in itertools.pairwise(self.clip_timestamps)):
            raise OptionsError("clip_timestamps must not go back in time")
        if self.alignment_heads is not None and not self.alignment_heads:
            raise OptionsError("alignment_heads must be one or more heads, or None")
        if self.carry_initial_prompt and self.initial_prompt is None:
            raise OptionsError("carry_initial_prompt needs an initial_prompt")
        self._check_speaker_names()

    def _check_language(self) -> None:
        if self.language is not None:
            object.__setattr__(self, "language", language_code(self.language))
        if self.languages is not None:
            codes = tuple(filter(None, map(language_code, self.languages)))
            object.__setattr__(self, "languages", codes or None)
        if self.languages is not None and self.language is not None:
            raise OptionsError("language and languages: give one of them")
        if self.multilingual and self.language is not None:
            raise OptionsError("multilingual detects the language; leave language out")

    def _check_search(self) -> None:
        if not self.temperatures:
            raise OptionsError("temperatures must be one or more numbers")
        if any(0 < temperature < MIN_TEMPERATURE for temperature in self.temperatures):
            raise OptionsError(f"temperatures must be 0, or from {MIN_TEMPERATURE} to 2")
        if self.patience is None:
            return
        if self.beam_size is None:
            raise OptionsError("patience needs a beam_size")
        if round(self.beam_size * self.patience) < 1:
            raise OptionsError("patience leaves no hypothesis: beam_size * patience is below 1")

    def _check_speaker_names(self) -> None:
        names = self.speaker_names or ()
        if any(not (name.strip() and name.isprintable()) for name in names):
            raise OptionsError("speaker_names must be words that can be printed, and not empty")
        if len(set(names)) < len(names):
            raise OptionsError("speaker_names must differ from each other")


def check_options(options: object) -> None:
    """Checks that options are what they are taken for.

    Raises:
        OptionsError: They are something else, such as a table.
    """
    if not isinstance(options, TranscribeOptions):
        kind = type(options).__name__
        raise OptionsError(f"options must be TranscribeOptions, not {kind}")


def language_code(given: str) -> str | None:
    """Returns the code of a language given as code, tag, name or alias; None for `auto`.

    Raises:
        LanguageError: Whisper does not know the language.
    """
    if given.strip().lower() == AUTO_LANGUAGE:
        return None
    from maxwhisper_cli.transcription.languages import parse_language

    return parse_language(given)


def _rows(name: str, value: object) -> int | str:
    return AUTO_ROWS if value == AUTO_ROWS else whole(name, value, 1, _MAX_WINDOWS)


def _vad(name: str, value: object) -> VadOptions:
    if not isinstance(value, VadOptions):
        raise OptionsError(f"{name} must be VadOptions, not {value!r:.40}")
    return value


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "task": text,
    "language": text,
    "language_detection_segments": partial(whole, minimum=1, maximum=_MAX_WINDOWS),
    "languages": partial(several, check=text),
    "multilingual": flag,
    "temperatures": partial(several, check=partial(real, minimum=0, maximum=2)),
    "beam_size": _hypotheses,
    "best_of": _hypotheses,
    "patience": partial(real, minimum=0, maximum=_MAX_HYPOTHESES),
    "length_penalty": partial(real, minimum=0, maximum=1),
    "seed": partial(whole, minimum=0),
    "compression_ratio_threshold": real,
    "logprob_threshold": real,
    "no_speech_threshold": real,
    "condition_on_previous_text": flag,
    "initial_prompt": text,
    "carry_initial_prompt": flag,
    "prefix": text,
    "suppress_tokens": partial(several, check=partial(whole, minimum=-1)),
    "suppress_blank": flag,
    "without_timestamps": flag,
    "max_initial_timestamp": _seconds,
    "sample_len": partial(whole, minimum=1),
    "word_timestamps": flag,
    "prepend_punctuations": text,
    "append_punctuations": text,
    "hallucination_silence_threshold": _seconds,
    "alignment_heads": partial(several, check=attention_head),
    "token_logprobs": flag,
    "batch_size": _rows,
    "clip_timestamps": partial(several, check=_seconds),
    "vad": _vad,
    "clamp_timestamps": flag,
    "speaker_names": partial(several, check=text),
}
"""The check of each option by itself."""
_OPTIONAL = frozenset(
    {
        "language",
        "languages",
        "beam_size",
        "best_of",
        "patience",
        "length_penalty",
        "compression_ratio_threshold",
        "logprob_threshold",
        "no_speech_threshold",
        "initial_prompt",
        "prefix",
        "max_initial_timestamp",
        "sample_len",
        "speaker_names",
        "hallucination_silence_threshold",
        "alignment_heads",
        "vad",
    }
)
"""Options that may be None."""
