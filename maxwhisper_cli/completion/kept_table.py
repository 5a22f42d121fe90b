"""The table of commands in the cache folder, under a name that changes with the program."""

import json
import os
import sys

from maxwhisper_cli.completion.answer import Table

_FOLDER = "completion"
_DIGITS, _HEX = 32, "0123456789abcdef"
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
"""Paths are texts here: `pathlib` is slow to load, and each key press waits."""


def load_table() -> Table:
    """Returns the table of commands, made anew where none is kept for this program."""
    path = os.path.join(_folder(), f"{_key()}.json")  # noqa: PTH118
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            table = json.load(file)
        if isinstance(table, dict) and {"options", "commands"} <= table.keys():
            return table
    except (OSError, ValueError, RecursionError):
        pass
    from maxwhisper_cli.completion.table import make_table

    table = make_table()
    if os.path.isabs(path):  # noqa: PTH117  (and not a `~` that has no home)
        _keep(path, table)
    return table


def _folder() -> str:
    """Returns the folder of kept tables: in the cache folder, as `weights.cache` finds it."""
    chosen = os.environ.get("MAXWHISPER_CACHE")
    if chosen:
        return os.path.join(os.path.expanduser(chosen), _FOLDER)  # noqa: PTH111, PTH118
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return os.path.join(root, "maxwhisper", _FOLDER)  # noqa: PTH118


def _key() -> str:
    """Returns a name of 32 digits for the program as it is: by the state of its command's files."""
    from _blake2 import blake2b  # `hashlib` loads OpenSSL

    state = [sys.version, _PACKAGE]
    for folder in (_PACKAGE, os.path.join(_PACKAGE, "commands")):  # noqa: PTH118
        with os.scandir(folder) as entries:
            files = [(e.name, e.stat().st_mtime_ns) for e in entries if e.name.endswith(".py")]
        state += [f"{name} {changed}" for name, changed in sorted(files)]
    return blake2b("\n".join(state).encode(), digest_size=_DIGITS // 2).hexdigest()


def _is_table(name: str) -> bool:
    """Returns True for the name of a kept table; other files are somebody else's."""
    stem = name.removesuffix(".json")
    return len(name) == _DIGITS + len(".json") and len(stem) == _DIGITS and not stem.strip(_HEX)


def _keep(path: str, table: Table) -> None:
    unfinished = f"{path[:-5]}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        for name in os.listdir(os.path.dirname(path)):  # noqa: PTH120, PTH208
            if _is_table(name):  # of an earlier program
                os.unlink(os.path.join(os.path.dirname(path), name))  # noqa: PTH108, PTH118, PTH120
        with open(unfinished, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(table, file)
        os.replace(unfinished, path)  # noqa: PTH105
    except OSError:  # the next key press makes it again
        return
