"""The options of commands that transcribe, as types: name, spelling, help and panel of each.

Names, values and defaults are those of openai-whisper's command line where it has the option.
`UpstreamCommand` makes its spellings work; what the options mean is written in the commands.
"""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from implementations import registry

_FILES = "Input and output"
_MODEL = "Model and implementation"
_TASK = "Language and task"
_SEARCH = "Search"
_RETRY = "When a window fails"
_TEXT = "Text that guides decoding"

_SWITCH_METAVAR = "True|False"


class Switch(StrEnum):
    """A choice written out, as openai-whisper does: `--fp16 False`. Its truth is what it says."""

    ON = "True"
    OFF = "False"

    def __bool__(self) -> bool:
        return self is Switch.ON


class UpstreamCommand(TyperCommand):
    """A command that takes openai-whisper's spellings.

    `--beam_size` is `--beam-size`; a switch may stand alone, which means True.
    """

    def __init__(self, *args: object, **settings: object) -> None:
        names = {"token_normalize_func": lambda name: name.replace("_", "-")}
        settings["context_settings"] = {**(settings.get("context_settings") or {}), **names}  # type: ignore[dict-item]
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Give each switch that stands alone its value, then parse as usual."""
        switches = {
            name
            for parameter in self.params
            if parameter.metavar == _SWITCH_METAVAR
            for name in parameter.opts
        }
        values = {"true", "false"}
        completed: list[str] = []
        for arg, following in zip(args, [*args[1:], ""], strict=True):
            completed.append(arg)
            if arg.replace("_", "-") in switches and following.lower() not in values:
                completed.append(Switch.ON.value)
        return super().parse_args(ctx, completed)


def optional_int(given: object) -> int | None:
    """A whole number, or None where that is written; a default passes through as well."""
    text = str(given)
    try:
        return None if text == "None" else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a whole number nor None") from None


def optional_float(given: object) -> float | None:
    """A finite number, or None where that is written; a default passes through as well."""
    text = str(given)
    try:
        number = None if text == "None" else float(text)
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{text!r} is neither a number nor None")
    return number


def optional_text(given: object) -> str | None:
    """The text, or None where that is written; a default passes through as well."""
    return None if given is None or given == "None" else str(given)


def _known_implementation(name: str) -> str:
    if name not in registry.names():
        raise typer.BadParameter(f"{name!r} is none of {', '.join(registry.names())}")
    return name


def _int_option(name: str, text: str, panel: str) -> object:
    return typer.Option(name, parser=optional_int, metavar="N", help=text, rich_help_panel=panel)


def _float_option(name: str, text: str, panel: str) -> object:
    return typer.Option(name, parser=optional_float, metavar="X", help=text, rich_help_panel=panel)


def _text_option(name: str, text: str, panel: str, metavar: str = "TEXT") -> object:
    return typer.Option(
        name, parser=optional_text, metavar=metavar, help=text, rich_help_panel=panel
    )


def _switch(name: str, text: str, panel: str) -> object:
    return typer.Option(
        name, metavar=_SWITCH_METAVAR, case_sensitive=False, help=text, rich_help_panel=panel
    )


def _of_words(name: str, *, is_switch: bool = False) -> object:
    """An option about words: taken at its default, so that commands written for upstream run."""
    metavar = _SWITCH_METAVAR if is_switch else None
    return typer.Option(name, parser=optional_text, metavar=metavar, hidden=True)


Files = Annotated[
    list[str],
    typer.Argument(metavar="FILES...", help="Recordings or videos; - is standard input."),
]

OutputDir = Annotated[
    str,
    typer.Option(
        "--output-dir",
        "-o",
        metavar="DIR",
        help="Folder for the outputs, made where missing; - writes one format to stdout.",
        rich_help_panel=_FILES,
    ),
]
OutputFormat = Annotated[
    list[str],
    typer.Option(
        "--output-format",
        "-f",
        metavar="FORMAT",
        help="txt, vtt, srt, tsv, json or all; several as a,b or by repeating it.",
        rich_help_panel=_FILES,
    ),
]
OutputName = Annotated[
    str,
    typer.Option(
        "--output-name",
        metavar="NAME",
        help="Name of outputs: {stem}, {name} (with extension), {parent} (folder).",
        rich_help_panel=_FILES,
    ),
]
Channel = Annotated[
    str,
    typer.Option(
        "--channel",
        metavar="mix|left|right|N",
        help="Which channel to hear; mix is their mean.",
        rich_help_panel=_FILES,
    ),
]
ClipTimestamps = Annotated[
    str,
    typer.Option(
        "--clip-timestamps",
        metavar="SECONDS",
        help="Transcribe only these clips: start,end,start,end,...",
        rich_help_panel=_FILES,
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

Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME|PATH",
        envvar="MAXWHISPER_MODEL",
        help="A name from `maxwhisper models`, or a file or folder with weights.",
        rich_help_panel=_MODEL,
    ),
]
ModelDir = Annotated[
    Path | None,
    typer.Option(
        "--model-dir",
        metavar="DIR",
        help="Folder of weights, instead of the cache folder.",
        rich_help_panel=_MODEL,
    ),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Never use the network.", rich_help_panel=_MODEL),
]
Impl = Annotated[
    str,
    typer.Option(
        "--impl",
        metavar="NAME",
        callback=_known_implementation,
        help="What runs the model: see `maxwhisper implementations`.",
        rich_help_panel=_MODEL,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="cpu, cuda, cuda:1, ...; the implementation's own by default.",
        rich_help_panel=_MODEL,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="float32, float16 or bfloat16; wins over --fp16.",
        rich_help_panel=_MODEL,
    ),
]
Fp16 = Annotated[
    Switch | None,
    typer.Option(
        "--fp16",
        metavar=_SWITCH_METAVAR,
        case_sensitive=False,
        show_default="True on a GPU",
        help="Half precision; False computes in float32.",
        rich_help_panel=_MODEL,
    ),
]
Threads = Annotated[
    int | None,
    _int_option("--threads", "CPU threads; 0 leaves it to the library.", _MODEL),
]

Task = Annotated[
    str,
    typer.Option(
        "--task",
        metavar="TASK",
        help="transcribe, or translate into English.",
        rich_help_panel=_TASK,
    ),
]
Language = Annotated[
    str | None,
    _text_option(
        "--language", "Code or name, es or Spanish; detected by default.", _TASK, "LANGUAGE"
    ),
]

Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        metavar="X",
        help="0 takes the likeliest; above, samples.",
        rich_help_panel=_SEARCH,
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
    _float_option("--patience", "Wait for beam-size x this many hypotheses; else 1.", _SEARCH),
]
LengthPenalty = Annotated[
    float | None,
    _float_option("--length-penalty", "Alpha from 0 to 1; None divides by length.", _SEARCH),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        help="Makes sampling repeatable.",
        rich_help_panel=_SEARCH,
    ),
]

TemperatureIncrement = Annotated[
    float | None,
    _float_option(
        "--temperature-increment-on-fallback",
        "Added on each retry, up to 1; None never retries.",
        _RETRY,
    ),
]
CompressionRatioThreshold = Annotated[
    float | None,
    _float_option("--compression-ratio-threshold", "Retry text as repetitive as this.", _RETRY),
]
LogprobThreshold = Annotated[
    float | None,
    _float_option("--logprob-threshold", "Retry text less likely than this.", _RETRY),
]
NoSpeechThreshold = Annotated[
    float | None,
    _float_option(
        "--no-speech-threshold", "Skip unlikely text where silence is likelier than this.", _RETRY
    ),
]

ConditionOnPreviousText = Annotated[
    Switch,
    _switch("--condition-on-previous-text", "Prompt each window with the text before.", _TEXT),
]
InitialPrompt = Annotated[
    str | None,
    _text_option("--initial-prompt", "Names, spelling, style for the first window.", _TEXT),
]
CarryInitialPrompt = Annotated[
    Switch,
    _switch("--carry-initial-prompt", "Give the initial prompt to every window.", _TEXT),
]
Prefix = Annotated[
    str | None,
    _text_option("--prefix", "What each window's text begins with.", _TEXT),
]
SuppressTokens = Annotated[
    str,
    typer.Option(
        "--suppress-tokens",
        metavar="IDS",
        help="Tokens never to write: id,id,...; -1 is all that is not speech.",
        rich_help_panel=_TEXT,
    ),
]
SuppressBlank = Annotated[
    Switch,
    _switch("--suppress-blank", "Never begin with a blank.", _TEXT),
]
WithoutTimestamps = Annotated[
    Switch,
    _switch("--without-timestamps", "One segment per window, without times.", _TEXT),
]
MaxInitialTimestamp = Annotated[
    float | None,
    _float_option("--max-initial-timestamp", "Latest begin of a window's text, in s.", _TEXT),
]
SampleLen = Annotated[
    int | None,
    _int_option("--sample-len", "Most tokens per window; 224 by default.", _TEXT),
]

WordTimestamps = Annotated[str | None, _of_words("--word-timestamps", is_switch=True)]
PrependPunctuations = Annotated[str | None, _of_words("--prepend-punctuations")]
AppendPunctuations = Annotated[str | None, _of_words("--append-punctuations")]
HighlightWords = Annotated[str | None, _of_words("--highlight-words", is_switch=True)]
MaxLineWidth = Annotated[str | None, _of_words("--max-line-width")]
MaxLineCount = Annotated[str | None, _of_words("--max-line-count")]
MaxWordsPerLine = Annotated[str | None, _of_words("--max-words-per-line")]
HallucinationSilenceThreshold = Annotated[
    str | None, _of_words("--hallucination-silence-threshold")
]
