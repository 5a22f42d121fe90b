"""Options of what is transcribed, and of going on where a run stopped."""

from pathlib import Path
from typing import Annotated

import typer

from maxwhisper_cli.upstream_style import option

_INPUTS = "Inputs and resuming"
_MIB = 2**20


def _flag(name: str, text: str) -> object:
    return typer.Option(name, help=text, rich_help_panel=_INPUTS)


Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILES...",
        help="Recordings, folders, addresses, @lists; - is stdin.",
        rich_help_panel="Input and output",
    ),
]
Manifest = Annotated[
    Path | None,
    option("--manifest", "JSONL, .gz, Parquet or list of recordings.", _INPUTS, "FILE"),
]
Recursive = Annotated[bool, _flag("--recursive", "Take the folders in folders too.")]
Newest = Annotated[
    int | None,
    typer.Option(
        "--newest", min=1, metavar="N", help="Episodes of a feed: only so many.",
        rich_help_panel=_INPUTS,
    ),
]  # fmt: skip
AllowPrivate = Annotated[
    bool, _flag("--allow-private", "Fetch from addresses of private networks too.")
]
MaxDownload = Annotated[
    float,
    typer.Option(
        "--max-download-mb", min=0, metavar="MB", help="Largest recording to fetch, in MiB.",
        rich_help_panel=_INPUTS,
    ),
]  # fmt: skip
MaxDownloadSeconds = Annotated[
    float,
    typer.Option(
        "--max-download-seconds", min=0, metavar="SECONDS", help="Longest time for one download.",
        rich_help_panel=_INPUTS,
    ),
]  # fmt: skip
Resume = Annotated[
    bool, _flag("--resume", "Skip what an earlier run has done with the same options.")
]
Force = Annotated[bool, _flag("--force", "Do everything, also what is done.")]
FailFast = Annotated[bool, _flag("--fail-fast", "Stop at the first file that fails.")]
Summary = Annotated[
    Path | None,
    option("--summary", "Write how each input ended, as JSON lines.", _INPUTS, "FILE"),
]
