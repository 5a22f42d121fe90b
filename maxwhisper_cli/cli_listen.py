"""Options of `maxwhisper listen` alone, as types."""

from typing import Annotated

import typer

from maxwhisper_cli import cli_options as cli
from maxwhisper_cli.upstream_style import format_option, option

_INPUT = "Input and output"
_LIVE = "Live text"

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]",
        help="- is a pipe on stdin; a path is a file or named pipe; none is the microphone.",
        rich_help_panel=_INPUT,
    ),
]
ListDevices = Annotated[bool, option("--list-devices", "List the microphones, and end.", _INPUT)]
InputDevice = Annotated[
    str | None,
    option("--input-device", "Microphone: its number or a part of its name.", _INPUT, "NAME"),
]
OutputFormat = Annotated[
    list[str] | None,
    format_option(
        _INPUT,
        "Also write files, anew after each pause: txt, srt, vtt, json, ...; or a,b.",
        default=False,
    ),
]
JsonLines = Annotated[
    bool,
    option("--jsonl", "Print a JSON line for each text, partial ones too, as it comes.", _INPUT),
]
Model = Annotated[
    str | None,
    cli.model_option(
        "base; on a GPU turbo", "A name (see `maxwhisper models`), or a file or folder."
    ),
]
Policy = Annotated[
    str,
    option(
        "--policy",
        "Words are final by align-att or local-agreement; auto goes by the model.",
        _LIVE,
        "NAME",
    ),
]
MinChunk = Annotated[
    float,
    option("--min-chunk", "Least new audio before the text is updated.", _LIVE, "SECONDS"),
]
WindowSeconds = Annotated[
    float | None,
    typer.Option(
        "--window-seconds",
        min=10,
        max=30,
        metavar="SECONDS",
        show_default="15; on a GPU 30",
        help="Audio that the model is given at once, 10 to 30.",
        rich_help_panel=_LIVE,
    ),
]
