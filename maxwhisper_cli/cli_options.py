"""Options of commands that transcribe, as types: name, spelling, help and panel of each.

Names are those of openai-whisper's command line. The commands define defaults and combinations.
"""

from pathlib import Path
from typing import Annotated

import typer

from implementations import registry
from maxwhisper_cli.upstream_style import (
    SWITCH_METAVAR,
    Switch,
    float_option,
    format_option,
    int_option,
    number,
    option,
    optional_count,
    switch,
    text_option,
)

STDOUT = "-"
"""Value of `--output-dir` that prints."""
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


def model_option(default: str, help_: str) -> object:
    """Returns `--model` with a command's own default and help."""
    return typer.Option(
        "--model",
        metavar="MODEL",
        envvar="MAXWHISPER_MODEL",
        show_default=default,
        help=help_,
        rich_help_panel=_MODEL,
    )


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
    format_option(
        _FILES, "txt, vtt, srt, tsv, json, or all five; lrc, ass, ttml, csv, md, rttm; or a,b."
    ),
]
JsonLines = Annotated[
    bool,
    option("--jsonl", "Print a JSON line for each file as it ends, and write no files.", _FILES),
]
OutputName = Annotated[
    str,
    option(
        "--output-name",
        "Name of outputs: {stem}, {name} with extension, {parent} folder.",
        _FILES,
        "NAME",
    ),
]
ClipTimestamps = Annotated[
    str,
    option(
        "--clip-timestamps",
        "Transcribe only these clips: start,end,start,end,...",
        _FILES,
        "SECONDS",
    ),
]
ClampTimestamps = Annotated[
    Switch,
    switch(
        "--clamp-timestamps",
        "End no cue after the recording, as openai-whisper may.",
        _FILES,
    ),
]
Verbose = Annotated[
    Switch,
    switch("--verbose", "Print segments as they come; False shows only the bar.", _FILES),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Print nothing but warnings and errors.", rich_help_panel=_FILES
    ),
]
Timings = Annotated[bool, option("--timings", "Show at the end where the time went.", _FILES)]

Model = Annotated[
    str | None,
    model_option(
        "turbo, or the best that is here", "A name (see `maxwhisper models`), or a file or folder."
    ),
]
ModelDir = Annotated[
    Path | None,
    option("--model-dir", "Folder of weights, instead of the cache.", _MODEL, "DIR"),
]
Offline = Annotated[bool, option("--offline", "Never use the network.", _MODEL)]
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
    option("--device", "cpu, cuda, cuda:1, ...; else a GPU if --impl can.", _MODEL, "DEVICE"),
]
Devices = Annotated[
    str | None,
    option("--device", "cpu, cuda, cuda:1; several with commas; cuda:all.", _MODEL, "DEVICE"),
]
Dtype = Annotated[
    str | None,
    option("--dtype", "auto, float32, float16, bfloat16, int8.", _MODEL, "DTYPE"),
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
    int_option(
        "--threads",
        "CPU threads of the model, and to read; at most all; 0 is the library's count.",
        _MODEL,
        optional_count,
    ),
]

Task = Annotated[
    str,
    option("--task", "transcribe, or translate into English.", _TASK, "TASK"),
]
Language = Annotated[
    str | None,
    text_option(
        "--language",
        "Language spoken: es, es-MX, spa or Spanish; detected by default, or by auto.",
        _TASK,
        "LANGUAGE",
    ),
]
Multilingual = Annotated[
    Switch, switch("--multilingual", "Detect the language of each 30 s anew.", _TASK)
]
LanguageDetectionSegments = Annotated[
    int,
    option(
        "--language-detection-segments",
        "Detect the language from so many times 30 s.",
        _TASK,
        "N",
    ),
]

Temperature = Annotated[
    float,
    float_option(
        "--temperature", "0 is beam search or greedy; 0.001 to 2 samples.", _SEARCH, number
    ),
]
BeamSize = Annotated[
    int | None,
    int_option("--beam-size", "Beams at temperature 0; None decodes greedily.", _SEARCH),
]
BestOf = Annotated[
    int | None,
    int_option("--best-of", "Samples to choose from above temperature 0.", _SEARCH),
]
Patience = Annotated[
    float | None,
    float_option("--patience", "Beam search ends at beam size x this hypotheses.", _SEARCH),
]
LengthPenalty = Annotated[
    float | None,
    float_option("--length-penalty", "Alpha, 0 to 1; None divides by the length.", _SEARCH),
]
Seed = Annotated[int, option("--seed", "Makes sampling repeatable.", _SEARCH, "N")]
BatchSize = Annotated[
    str | None,
    option(
        "--batch-size",
        "Windows decoded side by side. Above 1, long files are cut, and the text before a cut"
        " prompts nothing. auto is as many as pay, and cuts a single file only. The default is auto"
        " for several files, else 1.",
        _SEARCH,
        "N|auto",
    ),
]

TemperatureIncrement = Annotated[
    float | None,
    float_option(
        "--temperature-increment-on-fallback",
        "Added for each retry, up to 1; None never retries.",
        _RETRY,
    ),
]
CompressionRatioThreshold = Annotated[
    float | None,
    float_option(
        "--compression-ratio-threshold",
        "Retry text that repeats itself more than this; or None.",
        _RETRY,
    ),
]
LogprobThreshold = Annotated[
    float | None,
    float_option("--logprob-threshold", "Retry text less likely than this; or None.", _RETRY),
]
NoSpeechThreshold = Annotated[
    float | None,
    float_option("--no-speech-threshold", "Skip improbable text if silence exceeds this.", _RETRY),
]

ConditionOnPreviousText = Annotated[
    Switch,
    switch("--condition-on-previous-text", "Prompt each window with the text before it.", _TEXT),
]
InitialPrompt = Annotated[
    str | None,
    text_option("--initial-prompt", "Names, spelling and style, for the first window.", _TEXT),
]
CarryInitialPrompt = Annotated[
    Switch,
    switch(
        "--carry-initial-prompt",
        "Give the initial prompt to every window, cut if long.",
        _TEXT,
    ),
]
Prefix = Annotated[
    str | None,
    text_option("--prefix", "Start of the text; openai-whisper leaves it out.", _TEXT),
]
SuppressTokens = Annotated[
    str,
    option(
        "--suppress-tokens", "Tokens never to write: id,id,...; -1 is all non-speech.", _TEXT, "IDS"
    ),
]
SuppressBlank = Annotated[
    Switch,
    switch("--suppress-blank", "Never begin a window with a blank.", _TEXT),
]
WithoutTimestamps = Annotated[
    Switch,
    switch("--without-timestamps", "One segment for each window.", _TEXT),
]
MaxInitialTimestamp = Annotated[
    float | None,
    float_option(
        "--max-initial-timestamp", "Latest start of a window's first segment, in seconds.", _TEXT
    ),
]
SampleLen = Annotated[
    int | None,
    int_option("--sample-len", "Maximum tokens per window; half the model's by default.", _TEXT),
]
