"""Arguments of a command as inputs: folders, patterns that the shell left alone, and lists.

| argument | inputs |
| --- | --- |
| a file, `-`, an address | itself |
| a folder | its recordings by extension; with `recursive` those below it, with their tree |
| a pattern (`*`, `?`, `[...]`, `**`) that names no file | all files that match |
| `@list.txt`, where there is no such file | each line of it; `#` begins a comment |
| `feed:https://...` | the enclosures of a podcast |

Hidden files and folders are left out of folders; links to folders are not followed. What a folder,
a pattern or a list names again is taken once.
"""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from maxwhisper_cli.inputs.input import STDIN, Input, InputError, scheme_of

_MAX_NESTED_LISTS: Final = 8
MEDIA_SUFFIXES: Final = frozenset(
    {
        ".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".asf", ".au",
        ".avi", ".caf", ".dts", ".eac3", ".flac", ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka",
        ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".oga", ".ogg",
        ".ogv", ".opus", ".ra", ".rm", ".snd", ".spx", ".tak", ".ts", ".tta", ".voc", ".w64",
        ".wav", ".weba", ".webm", ".wma", ".wmv", ".wv",
    }
)  # fmt: skip
"""Extensions of recordings and videos, for which folders are searched."""
_MAX_PATTERN: Final = 4096
"""Longest pattern: as paths; matching takes the square of it."""


def expand(
    arguments: Iterable[str], *, recursive: bool = False, resolve: "Resolver | None" = None
) -> list[Input]:
    """Returns the inputs that arguments stand for, in their order.

    Args:
        arguments: Arguments of a command.
        recursive: True takes folders below a folder too.
        resolve: Turns an address that stands for several inputs into these.

    Raises:
        InputError: A folder, pattern or list has no recordings, or cannot be read.
    """
    inputs: list[Input] = []
    found: set[str] = set()
    for argument in arguments:
        for each in _expanded(argument, recursive=recursive, resolve=resolve):
            identity = each.source
            if each.scheme is None and each.source != STDIN:
                identity = os.path.realpath(each.source)
            if each.is_listed and identity in found:
                continue
            found.add(identity)
            inputs.append(each)
    return inputs


class Resolver:
    """Addresses that stand for several inputs."""

    def inputs(self, address: str) -> list[Input] | None:
        """Returns the inputs of an address; None if it is one itself."""
        raise NotImplementedError


def _expanded(
    argument: str, *, recursive: bool, resolve: Resolver | None, depth: int = 0
) -> Iterator[Input]:
    if scheme_of(argument) is not None:
        several = resolve.inputs(argument) if resolve is not None else None
        yield from [Input(argument)] if several is None else several
    elif _is_folder(argument):
        yield from _in_folder(Path(argument), recursive=recursive)
    elif argument == STDIN or _exists(argument):
        yield Input(argument)
    elif argument.startswith("@") and len(argument) > 1:
        if depth == _MAX_NESTED_LISTS:
            raise InputError(f"{argument}: lists that name lists go on and on; name recordings")
        for line in read_list(Path(argument[1:])):
            for each in _expanded(line, recursive=recursive, resolve=resolve, depth=depth + 1):
                yield replace(each, is_listed=True)
    else:
        yield from _matching(argument) if glob.has_magic(argument) else [Input(argument)]


def read_list(path: Path) -> list[str]:
    """Returns the lines of a list of recordings, without comments and empty ones.

    A relative path that does not exist is looked for beside the list.

    Raises:
        InputError: The list cannot be read, or is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(
            f"the list {path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return [beside(line, path) for line in lines if line and not line.startswith("#")]


def beside(source: str, listed_in: Path) -> str:
    """Returns a path as it is if it exists, else as seen from the file that names it."""
    if source == STDIN or scheme_of(source) is not None or source.startswith("@"):
        return source
    if Path(source).is_absolute() or _exists(source):
        return source
    other = str(listed_in.parent / source)
    is_there = _exists(other) or (glob.has_magic(source) and not _found(source) and _found(other))
    return other if is_there else source


def _in_folder(folder: Path, *, recursive: bool) -> list[Input]:
    inputs: list[Input] = []
    has_folders = False

    def refuse(error: OSError) -> None:
        raise InputError(f"the folder {error.filename} cannot be read: {error.strerror}") from error

    for name, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        has_folders = has_folders or bool(folders)
        if not recursive:
            folders.clear()
        below = os.path.relpath(name, folder)
        inputs += [
            Input(str(Path(name) / file), "" if below == os.curdir else below, is_listed=True)
            for file in sorted(files)
            if not file.startswith(".") and Path(file).suffix.lower() in MEDIA_SUFFIXES
        ]
    if not inputs:
        advice = "; --recursive takes the folders in it" if has_folders and not recursive else ""
        raise InputError(f"the folder {folder} holds no recordings (by extension){advice}")
    return inputs


def _matching(pattern: str) -> list[Input]:
    files = [Input(path, is_listed=True) for path in _found(pattern) if Path(path).is_file()]
    if not files:
        raise InputError(f"{pattern} matches no file: check its folder")
    return files


def _found(pattern: str) -> list[str]:
    """Returns the paths that a pattern matches; none if it is no path that a system has."""
    if "\0" in pattern or len(pattern) > _MAX_PATTERN:
        return []
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  (absolute patterns too)


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False
