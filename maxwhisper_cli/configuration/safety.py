"""Limits of a project's file, which may be a stranger's: it runs nothing and writes nowhere else.

A file of the user or of the system, and one that `--config-file` names, has no such limits.
"""

import re
from pathlib import Path

from maxwhisper_cli.configuration.files import ConfigurationFile
from weights.cache import expanded

PLACES = frozenset({"DIR", "FILE", "PATH"})
"""Metavars of options that are paths."""
_STDOUT = "-"
_RESERVED = re.compile(
    r"allow-.*|trust-.*|.*host|.*port|.*token|.*api-key.*|.*secret.*|.*password.*|.*proxy|.*endpoint"
    r"|.*insecure.*|cluster|log-file|cors-.*|max-(?:download|upload|spool|queue|connections).*"
)
"""Options that open the machine or name secrets; not a project's to set."""


def checked_place(file: ConfigurationFile, key: str, metavar: str, text: str) -> str:
    """Returns a setting of a file, with a relative path of a project's file made absolute.

    Args:
        file: The file that sets it.
        key: The option, for messages.
        metavar: Metavar of the option.
        text: The value, as text.

    Raises:
        ConfigurationError: A project's file may not set this, or names a path outside its folder.
    """
    if not file.is_project:
        return str(expanded(Path(text))) if metavar in PLACES and text.startswith("~") else text
    if _RESERVED.fullmatch(key):
        raise file.fail(
            key, "not for a project's file; put it into your own, or on the command line"
        )
    if metavar in PLACES and text != _STDOUT:
        return str(_inside(file, key, text))
    if metavar == "MODEL" and "/" in text and (file.path.parent / text).exists():
        return str(file.path.parent / text)
    return text


def _inside(file: ConfigurationFile, key: str, text: str) -> Path:
    folder = file.path.parent
    path = folder / text
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        is_inside = False
    if not is_inside:
        raise file.fail(
            key, f"{text!r} lies outside its folder; only your own configuration may name that"
        )
    return path
