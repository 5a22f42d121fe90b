"""Options of the server: where it listens, who may use it, and its limits."""

from pathlib import Path
from typing import Annotated

from maxwhisper_cli import cli_options as cli
from maxwhisper_cli.upstream_style import option

_PLACE = "Where it listens, and who may use it"
_LIMITS = "Limits"
_MODEL = "Model and implementation"

Host = Annotated[str, option("--host", "Address to listen on.", _PLACE, "ADDRESS")]
Port = Annotated[int, option("--port", "Port; 0 is any that is free.", _PLACE, "N")]
KeyFile = Annotated[
    Path | None,
    option(
        "--api-key-file", "File of keys, one on a line; each request needs one.", _PLACE, "FILE"
    ),
]
Origins = Annotated[
    list[str] | None,
    option("--cors-origin", "Origin of other pages that may use it; several times.", _PLACE, "URL"),
]
Hosts = Annotated[
    list[str] | None,
    option("--allow-host", "Further name that a local server answers to.", _PLACE, "NAME"),
]
AllowUrl = Annotated[
    bool, option("--allow-url", "Fetch recordings from public addresses (url).", _PLACE)
]

Models = Annotated[
    list[str] | None,
    cli.model_option(
        "turbo, or the best that is here",
        "A name or path; several times for several. The first answers to whisper-1.",
    ),
]
Rows = Annotated[
    str | None,
    option("--batch-size", "Windows decoded side by side; auto is what pays.", _MODEL, "N"),
]
KeepAlive = Annotated[
    float, option("--keep-alive", "Drop an unused model after this; -1 never.", _MODEL, "S")
]

MaxUpload = Annotated[float, option("--max-upload-mb", "Largest upload.", _LIMITS, "MB")]
MaxSpool = Annotated[float, option("--max-spool-mb", "All uploads at a time.", _LIMITS, "MB")]
MaxAudio = Annotated[float, option("--max-audio-seconds", "Longest recording.", _LIMITS, "S")]
MaxRequest = Annotated[
    float, option("--max-request-seconds", "Longest time of a request.", _LIMITS, "S")
]
MaxIdle = Annotated[float, option("--max-idle-seconds", "Longest pause of a client.", _LIMITS, "S")]
MaxQueue = Annotated[
    int, option("--max-queue", "Requests at a time; more are refused (429).", _LIMITS, "N")
]
MaxConnections = Annotated[int, option("--max-connections", "Open connections.", _LIMITS, "N")]
StopSeconds = Annotated[
    float, option("--stop-seconds", "Time to end requests in after SIGTERM.", _LIMITS, "S")
]
SpoolDir = Annotated[
    Path | None,
    option("--spool-dir", "Folder for uploads, instead of the system's.", _LIMITS, "DIR"),
]
