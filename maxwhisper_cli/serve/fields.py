"""Fields of a transcription request: OpenAI's, those of other servers, this program's options.

One table says which fields there are, what they mean and how they are parsed. A field that is not
in it, or cannot be honoured, is an error that names it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from maxwhisper_cli.serve.errors import ApiError, invalid
from maxwhisper_cli.serve.values import (
    NUMBER,
    NUMBERS,
    SWITCH,
    TEXT,
    WHOLE,
    WHOLES,
    Kind,
    one_of,
    only,
    only_false,
    refused,
)

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
TRANSLATION_FORMATS = FORMATS[:5]
VAD_PREFIX = "vad_"
STRATEGY = "chunking_strategy"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of a form."""

    name: str
    kind: Kind
    help: str
    is_list: bool = False
    """True if the field may be repeated, with or without `[]` behind its name."""
    is_option: bool = False
    """True if it is a transcription option of the same name."""
    aliases: tuple[str, ...] = ()
    """Names of the same field in other servers."""


def _option(name: str, kind: Kind, help_: str, *aliases: str) -> FieldSpec:
    return FieldSpec(name, kind, help_, is_option=True, aliases=aliases)


def _openai() -> Iterable[FieldSpec]:
    granularity, include = one_of("word", "segment"), one_of("logprobs")
    samples = refused("speakers are told apart by their channels (diarized_json), not by voices")
    yield FieldSpec("model", TEXT, "Name of the model; `whisper-1` is the server's first.")
    yield FieldSpec("language", TEXT, "Language spoken, as `es`; detected without it.")
    yield FieldSpec("languages", TEXT, "Languages that may be spoken.", is_list=True)
    yield FieldSpec("prompt", TEXT, "Text before the recording.", aliases=("initial_prompt",))
    yield FieldSpec("keywords", TEXT, "Words to expect, in every window's prompt.", is_list=True)
    yield FieldSpec("hotwords", TEXT, "As `keywords`, in one text.")
    yield FieldSpec("response_format", one_of(*FORMATS), "Format of the answer; `json`.")
    yield FieldSpec("temperature", NUMBER, "0 goes up where a window's text looks wrong.")
    yield FieldSpec(
        "temperature_increment_on_fallback",
        NUMBER,
        "Step of the temperatures above the first; 0 never tries again.",
        aliases=("temperature_inc",),
    )
    yield FieldSpec("timestamp_granularities", granularity, "For verbose_json.", is_list=True)
    yield FieldSpec("stream", SWITCH, "Send text as it is decoded, as server-sent events.")
    yield FieldSpec("stream_include_usage", SWITCH, "The last event has the usage in any case.")
    yield FieldSpec("stream_continuous_usage_stats", only_false(), "`false` alone.")
    yield FieldSpec("include", include, "`logprobs`: of each token.", is_list=True)
    yield FieldSpec(STRATEGY, TEXT, "`auto`, or a server_vad object: voice activity detection.")
    yield FieldSpec("known_speaker_names", samples, "Not supported.", is_list=True)
    yield FieldSpec("known_speaker_references", samples, "Not supported.", is_list=True)


def _search() -> Iterable[FieldSpec]:
    yield _option("beam_size", WHOLE, "Beams at temperature 0; 1 decodes greedily.")
    yield FieldSpec("use_beam_search", SWITCH, "false decodes greedily.")
    yield _option("best_of", WHOLE, "Samples above temperature 0.")
    yield _option("patience", NUMBER, "Patience of the beam search.")
    yield _option("length_penalty", NUMBER, "Alpha, 0 to 1.")
    yield _option("seed", WHOLE, "Seed of sampling.")
    for name in ("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold"):
        aliases = {
            "logprob_threshold": ("logprob_thold",),
            "no_speech_threshold": ("no_speech_thold",),
        }.get(name, ())
        yield _option(name, NUMBER, "As openai-whisper's option.", *aliases)
    yield FieldSpec("n", only(1, "there is one text for each request"), "1.")
    sampling = "sampling has a temperature alone"
    for name, neutral in (
        ("top_p", 1),
        ("min_p", 0),
        ("repetition_penalty", 1),
        ("frequency_penalty", 0),
        ("presence_penalty", 0),
    ):
        yield FieldSpec(name, only(neutral, sampling), "Neutral value alone.")
    yield FieldSpec("top_k", one_of("0", "-1"), "Neutral value alone.")
    yield FieldSpec("max_completion_tokens", refused("see sample_len"), "Not supported.")
    yield FieldSpec("to_language", refused("see /v1/audio/translations"), "Not supported.")
    yield FieldSpec("batch_size", refused("the server decides on it"), "Not supported.")


def _guidance() -> Iterable[FieldSpec]:
    yield _option("condition_on_previous_text", SWITCH, "Prompt windows with the text before.")
    yield _option("carry_initial_prompt", SWITCH, "Prompt every window with `prompt`.")
    yield _option("prefix", TEXT, "Text that the transcript begins with.")
    yield _option("suppress_tokens", WHOLES, "Tokens never to write.")
    yield _option("suppress_blank", SWITCH, "Never begin a window with a blank.")
    yield _option("without_timestamps", SWITCH, "One segment for each window.")
    yield _option("max_initial_timestamp", NUMBER, "Latest start of a window's text.")
    yield _option("sample_len", WHOLE, "Most tokens of a window.")
    yield _option("multilingual", SWITCH, "Detect the language of each window.")
    yield _option("language_detection_segments", WHOLE, "Windows to detect it from.")


def _speech() -> Iterable[FieldSpec]:
    yield FieldSpec("vad", SWITCH, "Decode where somebody speaks.", aliases=("vad_filter",))
    yield FieldSpec("vad_threshold", NUMBER, "Probability at which speech begins.")
    yield FieldSpec("vad_neg_threshold", NUMBER, "Probability below which it ends.")
    for name, help_, alias in (
        ("vad_min_speech_ms", "Shortest speech.", "vad_min_speech_duration_ms"),
        ("vad_min_silence_ms", "Shortest pause that ends it.", "vad_min_silence_duration_ms"),
        ("vad_speech_pad_ms", "Audio decoded around it.", ""),
    ):
        yield FieldSpec(name, WHOLE, help_, aliases=(alias,) if alias else ())
    yield FieldSpec(
        "vad_max_speech_s", NUMBER, "Longest speech.", aliases=("vad_max_speech_duration_s",)
    )


def _reading() -> Iterable[FieldSpec]:
    yield _option("clip_timestamps", NUMBERS, "Parts to transcribe: start,end,...")
    yield _option("clamp_timestamps", SWITCH, "End no segment after the recording.")
    yield FieldSpec("channel", TEXT, "`mix`, `left`, `right`, `split` or a number.")
    yield FieldSpec("speaker_names", TEXT, "Name of each channel's speaker.", is_list=True)
    yield FieldSpec("audio_track", TEXT, "Number or language of the track.")


def _words() -> Iterable[FieldSpec]:
    yield _option("word_timestamps", SWITCH, "Times of words; segments are drawn to them.")
    yield _option("hallucination_silence_threshold", NUMBER, "As openai-whisper's option.")
    yield _option("prepend_punctuations", TEXT, "Marks joined to the word after them.")
    yield _option("append_punctuations", TEXT, "Marks joined to the word before them.")
    yield FieldSpec("caption_style", one_of("none", "netflix", "bbc"), "Style of srt and vtt.")
    for name in ("max_line_width", "max_line_count", "max_words_per_line"):
        yield FieldSpec(name, WHOLE, "As openai-whisper's option, for srt and vtt.")
    yield FieldSpec("highlight_words", SWITCH, "Underline each word in turn, in srt and vtt.")


SPECS: Mapping[str, FieldSpec] = {
    spec.name: spec
    for spec in (
        *_openai(), *_search(), *_guidance(), *_speech(), *_reading(), *_words()
    )
}  # fmt: skip
"""All fields but `file`, by name."""
_BY_ALIAS = {alias: spec for spec in SPECS.values() for alias in spec.aliases}
UNTRANSLATED = frozenset(
    {"language", "languages", "known_speaker_names", "known_speaker_references"}
)
"""Fields that OpenAI's translations do not have, and that are allowed there all the same."""


@dataclass(frozen=True, slots=True)
class Values:
    """Parsed fields of a request by name; absent ones were not given."""

    by_name: Mapping[str, Any]
    strategy: Mapping[str, str]
    """Fields of a chunking strategy that is an object."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  (of the field's kind)
        """Returns a field's value."""
        return self.by_name.get(name, default)

    def options(self) -> dict[str, Any]:
        """Returns the fields that are options of a transcription."""
        return {name: value for name, value in self.by_name.items() if SPECS[name].is_option}

    def names(self) -> tuple[str, ...]:
        """Returns the names of all fields that were given."""
        return (*self.by_name, *((STRATEGY,) if self.strategy else ()))


def parse_fields(fields: Iterable[tuple[str, str]]) -> Values:
    """Parses fields as they came; empty ones count as not given.

    Raises:
        ApiError: A field is unknown, given twice, or not of its kind.
    """
    values: dict[str, Any] = {}
    strategy: dict[str, str] = {}
    for given, text in fields:
        if given == "file":
            raise invalid("file is text: send the recording as a file", "file")
        if given.startswith(f"{STRATEGY}["):
            strategy[given[len(STRATEGY) + 1 :].rstrip("]")] = text
            continue
        spec = _spec(given)
        if not text.strip():
            continue
        value = spec.kind.parse(given, text)
        if spec.is_list:
            values[spec.name] = (*values.get(spec.name, ()), value)
        elif spec.name in values:
            raise invalid(f"{given} is given more than once", given)
        else:
            values[spec.name] = value
    return Values(values, strategy)


def _spec(given: str) -> FieldSpec:
    name = given.removesuffix("[]")
    spec = SPECS.get(name) or _BY_ALIAS.get(name)
    if spec is None or (given != name and not spec.is_list):
        raise _unknown(given)
    return spec


def _unknown(given: str) -> ApiError:
    known = [*SPECS, *_BY_ALIAS]
    nearest = get_close_matches(given.lower(), known, n=1, cutoff=0.7)
    meant = f"did you mean {nearest[0]!r}? " if nearest else ""
    return invalid(
        f"there is no field {given!r:.80}: {meant}/docs lists all fields",
        given[:80],
        "unknown_parameter",
    )
