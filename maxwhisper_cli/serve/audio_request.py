"""A checked request for a transcription: its options, and the answer that is wanted."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maxwhisper_cli.audio.reader import ReadingOptions
from maxwhisper_cli.captions.captions import CaptionOptions
from maxwhisper_cli.serve.errors import ApiError, invalid
from maxwhisper_cli.serve.fields import STRATEGY, TRANSLATION_FORMATS, VAD_PREFIX, Values
from maxwhisper_cli.serve.values import NUMBER, WHOLE
from maxwhisper_cli.transcription.languages import LanguageError
from maxwhisper_cli.transcription.options import (
    OptionsError,
    Task,
    TranscribeOptions,
    VadOptions,
)
from weights.dims import ModelDimensions
from weights.whole_number import whole_number

_INCREMENT = 0.2
_MAX_TEMPERATURE = 1.0
_MIN_INCREMENT = 0.01
_STREAMED = frozenset({"json", "text", "verbose_json", "diarized_json"})
_CAPTIONS = ("highlight_words", "max_line_width", "max_line_count", "max_words_per_line")
_FIELDS_OF = {
    "temperatures": {"temperature"},
    "prompt": {"prompt", "keywords", "hotwords"},
    "initial_prompt": {"prompt", "keywords", "hotwords"},
    VAD_PREFIX: {STRATEGY},
}
"""Fields that an error may be about, by the beginning of a word in it."""
_CHANNELS = frozenset({"mix", "left", "right", "split"})
_STRATEGY_FIELDS = {
    "threshold": ("threshold", NUMBER),
    "prefix_padding_ms": ("speech_pad_ms", WHOLE),
    "silence_duration_ms": ("min_silence_ms", WHOLE),
}
"""Option of voice activity detection, and kind, of each field of a server_vad object."""


@dataclass(frozen=True, slots=True)
class AudioRequest:
    """A request, apart from its recording."""

    model: str
    """Name of the model, as it was given; empty if there is none."""
    options: TranscribeOptions
    reading: ReadingOptions
    response_format: str = "json"
    has_words: bool = False
    """True if the answer lists words."""
    has_segments: bool = True
    """True if a verbose answer lists segments."""
    is_streamed: bool = False
    has_logprobs: bool = False
    captions: CaptionOptions = field(default_factory=CaptionOptions)
    given: tuple[str, ...] = ()
    """Names of all fields that were given."""

    def refusal(self, error: OptionsError) -> ApiError:
        """Returns an error of an option as that of the field that it speaks of."""
        return option_error(error, self.given)

    def check_model(self, dims: ModelDimensions, model: str) -> None:
        """Checks that a model can do what is wanted.

        Raises:
            ApiError: It is for English only, and something else is wanted.
        """
        if dims.is_multilingual:
            return
        if self.options.task == "translate":
            raise invalid(f"{model} knows only English and cannot translate", "model")
        languages = self.options.languages or (self.options.language or "en",)
        if "en" not in languages:
            name = "language" if "language" in self.given else "languages"
            raise invalid(f"{model} knows only English", name)
        if self.options.multilingual:
            raise invalid(f"{model} knows only English and detects no language", "multilingual")


def read_request(values: Values, task: Task) -> AudioRequest:
    """Returns the request of parsed fields.

    Raises:
        ApiError: Fields contradict each other, or have a value out of range.
    """
    response_format = values.get("response_format", "json")
    if task == "translate" and response_format not in TRANSLATION_FORMATS:
        known = ", ".join(TRANSLATION_FORMATS)
        raise invalid(f"translations have the formats {known}", "response_format")
    granularities = _granularities(values, response_format)
    is_streamed = values.get("stream", False)
    if is_streamed and response_format not in _STREAMED:
        raise invalid(
            f"{response_format} cannot be streamed: use json, text or verbose_json", "stream"
        )
    if values.get("include") and response_format != "json":
        raise invalid("logprobs need response_format json", "include")
    try:
        captions = _captions(values, response_format)
        options = _options(values, task, captions, has_words="word" in granularities)
        reading = _reading(values, response_format)
    except OptionsError as error:
        raise option_error(error, values.names()) from error
    return AudioRequest(
        values.get("model", "").strip(),
        options,
        reading,
        response_format,
        has_words=options.word_timestamps,
        has_segments="segment" in granularities or not granularities,
        is_streamed=is_streamed,
        has_logprobs=options.token_logprobs,
        captions=captions,
        given=values.names(),
    )


def option_error(error: OptionsError, given: tuple[str, ...]) -> ApiError:
    """Returns an error of an option as that of the field that it speaks of."""
    message = str(error)
    words = set(re.findall(r"\w+", message.replace("vad ", VAD_PREFIX)))
    if isinstance(error, LanguageError):
        words |= {"language", "languages"}
    for word, names in _FIELDS_OF.items():
        if any(each.startswith(word) for each in words):
            words |= names
    return invalid(message, next((name for name in given if name in words), None))


def _granularities(values: Values, response_format: str) -> tuple[str, ...]:
    granularities: tuple[str, ...] = values.get("timestamp_granularities", ())
    if granularities and response_format != "verbose_json":
        raise invalid(
            "timestamp_granularities need response_format verbose_json", "timestamp_granularities"
        )
    return granularities


def _options(
    values: Values, task: Task, captions: CaptionOptions, *, has_words: bool
) -> TranscribeOptions:
    options: dict[str, Any] = values.options()
    if has_words or captions.needs_words is not None:
        options["word_timestamps"] = True
    options["token_logprobs"] = bool(values.get("include"))
    if values.get("use_beam_search") is False:
        options["beam_size"] = None
    options |= _language(values) | _prompt(values)
    names = values.get("speaker_names")
    return TranscribeOptions(
        task=task,
        temperatures=_temperatures(values),
        vad=_vad(values),
        speaker_names=names,
        **options,
    )


def _language(values: Values) -> dict[str, Any]:
    language, several = values.get("language"), values.get("languages", ())
    if language is not None and several:
        raise invalid("language and languages: give one of them", "languages")
    if len(several) == 1:
        return {"language": several[0]}
    return {"language": language, "languages": several or None}


def _prompt(values: Values) -> dict[str, Any]:
    """Returns prompt and keywords as one initial prompt, which keywords carry to all windows."""
    keywords = [*values.get("keywords", ()), *filter(None, [values.get("hotwords")])]
    parts = [", ".join(word.strip() for word in keywords), values.get("prompt", "").strip()]
    prompt = " ".join(filter(None, parts))
    options: dict[str, Any] = {"initial_prompt": prompt or None}
    if keywords and values.get("carry_initial_prompt") is None:
        options["carry_initial_prompt"] = True
    return options


def _temperatures(values: Values) -> tuple[float, ...]:
    """Returns the first temperature and those above it, as the command line has them."""
    first = float(values.get("temperature", 0.0))
    increment = float(values.get("temperature_increment_on_fallback", _INCREMENT))
    TranscribeOptions(temperatures=(first,))  # is refused before steps are counted
    if increment == 0:
        return (first,)
    if increment < _MIN_INCREMENT:
        name = "temperature_increment_on_fallback"
        raise invalid(f"{name} must be 0, or at least {_MIN_INCREMENT}", name)
    n_more = max(0, int((_MAX_TEMPERATURE - first + 1e-6) / increment))
    return (first, *(round(first + i * increment, 6) for i in range(1, n_more + 1)))


def _vad(values: Values) -> VadOptions | None:
    given = {
        name.removeprefix(VAD_PREFIX): value
        for name, value in values.by_name.items()
        if name.startswith(VAD_PREFIX)
    }
    strategy = _strategy(values)
    is_on = values.get("vad", strategy is not None)
    if strategy is not None and not is_on:
        raise invalid(f"{STRATEGY} needs voice activity detection", "vad")
    if given and not is_on:
        name = f"{VAD_PREFIX}{next(iter(given))}"
        raise invalid(f"{name} needs vad", name)
    return VadOptions(**{**(strategy or {}), **given}) if is_on else None


def _strategy(values: Values) -> dict[str, Any] | None:
    """Returns a chunking strategy as options of voice activity detection; None without one."""
    fields: Mapping[str, Any] | None = values.strategy or None
    text = values.get(STRATEGY)
    if text == "auto" and fields is None:
        return {}
    if text is not None and fields is None:
        fields = _object(text)
    if fields is None:
        return None
    if fields.get("type") != "server_vad":
        raise _no_strategy()
    options = {}
    for name in fields.keys() - {"type"}:
        if name not in _STRATEGY_FIELDS:
            raise invalid(f"{STRATEGY} has no field {name!r:.40}", STRATEGY)
        option, kind = _STRATEGY_FIELDS[name]
        options[option] = kind.parse(STRATEGY, str(fields[name]))
    return options


def _object(text: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise _no_strategy()
    return fields


def _no_strategy() -> ApiError:
    return invalid(f"{STRATEGY} must be auto, or an object of the type server_vad", STRATEGY)


def _captions(values: Values, response_format: str) -> CaptionOptions:
    given = {name: values.get(name) for name in _CAPTIONS if values.get(name) is not None}
    style = values.get("caption_style")
    if style == "none":
        style = None
    first = next(iter(given), "caption_style" if style else None)
    if first is not None and response_format not in {"srt", "vtt"}:
        raise invalid(f"{first} needs response_format srt or vtt", first)
    return CaptionOptions(style=style, **given)


def _reading(values: Values, response_format: str) -> ReadingOptions:
    is_diarized = response_format == "diarized_json"
    channel = values.get("channel", "split" if is_diarized else "mix")
    number = whole_number(channel)
    if channel not in _CHANNELS and not number:
        raise invalid("channel must be mix, left, right, split or a number from 1 on", "channel")
    if is_diarized and channel != "split":
        raise invalid("diarized_json needs channel split", "channel")
    if values.get("speaker_names") and channel != "split":
        raise invalid("speaker_names need channel split", "speaker_names")
    reading: ReadingOptions = {"channel": number or channel}
    track = values.get("audio_track")
    if track is not None:
        chosen = whole_number(track)
        reading["audio_track"] = track if chosen is None else chosen
    return reading
