"""Options of commands that transcribe, as types: name, spelling, help and panel of each.

Names are those of openai-whisper's command line where it has the option. The commands define
defaults and combinations.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from implementations import registry
from maxwhisper_cli.upstream_style import (
    SWITCH_METAVAR,
    Switch,
    number,
    optional_count,
    optional_float,
    optional_int,
    optional_text,
)

_FILES = "Input and output"
_MODEL = "Model and implementation"
_TASK = "Language and task"
_SEARCH = "Search"
_RETRY = "When a window fails"
_TEXT = "Text that guides decoding"


def _known_implementation(name: str) -> str:
    known = (registry.AUTO, *registry.names())
    if name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}")
    return name


def _int_option(
    name: str, text: str, panel: str, parser: Callable[[object], int | None] = optional_int
) -> object:
    return typer.Option(name, parser=parser, metavar="N", help=text, rich_help_panel=panel)


def _float_option(
    name: str, text: str, panel: str, parser: Callable[[object], float | None] = optional_float
) -> object:
    return typer.Option(name, parser=parser, metavar="X", help=text, rich_help_panel=panel)


def _text_option(name: str, text: str, panel: str, metavar: str = "TEXT") -> object:
    return typer.Option(
        name, parser=optional_text, metavar=metavar, help=text, rich_help_panel=panel
    )


def _option(name: str, text: str, panel: str, metavar: str | None = None) -> object:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)


def _switch(name: str, text: str, panel: str) -> object:
    return typer.Option(
        name, metavar=SWITCH_METAVAR, case_sensitive=False, help=text, rich_help_panel=panel
    )


def _word_option(name: str, *, is_switch: bool = False) -> object:
    """Returns a hidden option of word timestamps, accepted at its default for compatibility."""
    metavar = SWITCH_METAVAR if is_switch else None
    return typer.Option(name, parser=optional_text, metavar=metavar, hidden=True)


Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES...", help="Recordings or videos; - is stdin.", rich_help_panel=_FILES
    ),
]

OutputDir = Annotated[
    str,
    typer.Option(
        "--output-dir",
        "-o",
        metavar="DIR",
        help="Folder for the outputs; - prints one format on stdout.",
        rich_help_panel=_FILES,
    ),
]
OutputFormat = Annotated[
    list[str] | None,
    typer.Option(
        "--output-format",
        "-f",
        metavar="FORMAT",
        show_default="all",
        help="txt, vtt, srt, tsv, json or all; several as a,b.",
        rich_help_panel=_FILES,
    ),
]
OutputName = Annotated[
    str,
    _option(
        "--output-name",
        "Name of outputs: {stem}, {name} with extension, {parent} folder.",
        _FILES,
        "NAME",
    ),
]
Channel = Annotated[
    str,
    _option("--channel", "mix, left, right or a number from 1 on.", _FILES, "CHANNEL"),
]
ClipTimestamps = Annotated[
    str,
    _option(
        "--clip-timestamps",
        "Transcribe only these clips: start,end,start,end,...",
        _FILES,
        "SECONDS",
    ),
]
ClampTimestamps = Annotated[
    Switch,
    _switch(
        "--clamp-timestamps",
        "End no cue after the recording, as openai-whisper may.",
        _FILES,
    ),
]
Verbose = Annotated[
    Switch,
    _switch("--verbose", "Print segments as they come; False shows only the bar.", _FILES),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Print nothing but warnings and errors.", rich_help_panel=_FILES
    ),
]
Timings = Annotated[bool, _option("--timings", "Show at the end where the time went.", _FILES)]

Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        envvar="MAXWHISPER_MODEL",
        help="A name (see `maxwhisper models`), or a file or folder.",
        rich_help_panel=_MODEL,
    ),
]
ModelDir = Annotated[
    Path | None,
    _option("--model-dir", "Folder of weights, instead of the cache.", _MODEL, "DIR"),
]
Offline = Annotated[bool, _option("--offline", "Never use the network.", _MODEL)]
Impl = Annotated[
    str,
    typer.Option(
        "--impl",
        metavar="NAME",
        callback=_known_implementation,
        help="See `maxwhisper implementations`; auto is the fastest that is ready.",
        rich_help_panel=_MODEL,
    ),
]
Device = Annotated[
    str | None,
    _option("--device", "cpu, cuda, cuda:1, ...; else a GPU if --impl can.", _MODEL, "DEVICE"),
]
Dtype = Annotated[
    str | None,
    _option("--dtype", "auto, float32, float16, bfloat16, int8.", _MODEL, "DTYPE"),
]
Fp16 = Annotated[
    Switch | None,
    typer.Option(
        "--fp16",
        metavar=SWITCH_METAVAR,
        case_sensitive=False,
        show_default="on a GPU",
        help="Half precision, unless --dtype is given; False computes in float32.",
        rich_help_panel=_MODEL,
    ),
]
Threads = Annotated[
    int | None,
    _int_option("--threads", "CPU threads; 0 leaves it to the library.", _MODEL, optional_count),
]

Task = Annotated[
    str,
    _option("--task", "transcribe, or translate into English.", _TASK, "TASK"),
]
Language = Annotated[
    str | None,
    _text_option(
        "--language",
        "Language spoken: es, es-MX, spa or Spanish; detected by default, or by auto.",
        _TASK,
        "LANGUAGE",
    ),
]
Multilingual = Annotated[
    Switch, _switch("--multilingual", "Detect the language of each 30 s anew.", _TASK)
]

Temperature = Annotated[
    float,
    _float_option(
        "--temperature", "0 is beam search or greedy; 0.001 to 2 samples.", _SEARCH, number
    ),
]
BeamSize = Annotated[
    int | None,
    _int_option("--beam-size", "Beams at temperature 0; None decodes greedily.", _SEARCH),
]
BestOf = Annotated[
    int | None,
    _int_option("--best-of", "Samples to choose from above temperature 0.", _SEARCH),
]
Patience = Annotated[
    float | None,
    _float_option("--patience", "Beam search ends at beam size x this hypotheses.", _SEARCH),
]
LengthPenalty = Annotated[
    float | None,
    _float_option("--length-penalty", "Alpha, 0 to 1; None divides by the length.", _SEARCH),
]
Seed = Annotated[int, _option("--seed", "Makes sampling repeatable.", _SEARCH, "N")]
BatchSize = Annotated[
    int, _option("--batch-size", "Windows decoded together, of one file or more.", _SEARCH, "N")
]

TemperatureIncrement = Annotated[
    float | None,
    _float_option(
        "--temperature-increment-on-fallback",
        "Added for each retry, up to 1; None never retries.",
        _RETRY,
    ),
]
CompressionRatioThreshold = Annotated[
    float | None,
    _float_option(
        "--compression-ratio-threshold",
        "Retry text that repeats itself more than this; or None.",
        _RETRY,
    ),
]
LogprobThreshold = Annotated[
    float | None,
    _float_option("--logprob-threshold", "Retry text less likely than this; or None.", _RETRY),
]
NoSpeechThreshold = Annotated[
    float | None,
    _float_option("--no-speech-threshold", "Skip improbable text if silence exceeds this.", _RETRY),
]

ConditionOnPreviousText = Annotated[
    Switch,
    _switch("--condition-on-previous-text", "Prompt each window with the text before it.", _TEXT),
]
InitialPrompt = Annotated[
    str | None,
    _text_option("--initial-prompt", "Names, spelling and style, for the first window.", _TEXT),
]
CarryInitialPrompt = Annotated[
    Switch,
    _switch(
        "--carry-initial-prompt",
        "Give the initial prompt to every window, cut if long.",
        _TEXT,
    ),
]
Prefix = Annotated[
    str | None,
    _text_option("--prefix", "Start of the text; openai-whisper leaves it out.", _TEXT),
]
SuppressTokens = Annotated[
    str,
    _option(
        "--suppress-tokens", "Tokens never to write: id,id,...; -1 is all non-speech.", _TEXT, "IDS"
    ),
]
SuppressBlank = Annotated[
    Switch,
    _switch("--suppress-blank", "Never begin a window with a blank.", _TEXT),
]
WithoutTimestamps = Annotated[
    Switch,
    _switch("--without-timestamps", "One segment for each window.", _TEXT),
]
MaxInitialTimestamp = Annotated[
    float | None,
    _float_option(
        "--max-initial-timestamp", "Latest start of a window's first segment, in seconds.", _TEXT
    ),
]
SampleLen = Annotated[
    int | None,
    _int_option("--sample-len", "Maximum tokens per window; half the model's by default.", _TEXT),
]

WordTimestamps = Annotated[str | None, _word_option("--word-timestamps", is_switch=True)]
PrependPunctuations = Annotated[str | None, _word_option("--prepend-punctuations")]
AppendPunctuations = Annotated[str | None, _word_option("--append-punctuations")]
HighlightWords = Annotated[str | None, _word_option("--highlight-words", is_switch=True)]
MaxLineWidth = Annotated[str | None, _word_option("--max-line-width")]
MaxLineCount = Annotated[str | None, _word_option("--max-line-count")]
MaxWordsPerLine = Annotated[str | None, _word_option("--max-words-per-line")]
HallucinationSilenceThreshold = Annotated[
    str | None, _word_option("--hallucination-silence-threshold")
]
