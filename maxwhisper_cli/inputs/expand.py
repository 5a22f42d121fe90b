"""Arguments of a command as inputs: folders, patterns that the shell left alone, and lists.

| argument | inputs |
| --- | --- |
| a file, `-`, an address | itself |
| a folder | its recordings by extension; with `recursive` those below it, with their tree |
| a pattern (`*`, `?`, `[...]`, `**`) that names no file | all files that match |
| `@list.txt`, where there is no such file | each line of it; `#` begins a comment |
| `feed:https://...` | the enclosures of a podcast |

Hidden files and folders are left out of folders; links to folders are not followed. What a folder,
a pattern or a list names again is taken once. An argument that stands for nothing, and a folder
below another that cannot be read, cost no other: they are inputs with a problem.
"""

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from maxwhisper_cli.inputs.input import STDIN, Input, InputError, scheme_of
from maxwhisper_cli.unicode_text import decode_text

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

    Returns:
        The inputs. One with a `problem` is an argument or folder that stands for no recording.
    """
    inputs: list[Input] = []
    found: set[str] = set()
    for argument in arguments:
        for each in _expanded_or_problem(argument, recursive=recursive, resolve=resolve):
            identity = identity_of(each)
            if each.is_listed and identity in found:
                continue
            found.add(identity)
            inputs.append(each)
    return inputs


def identity_of(each: Input) -> str:
    """Returns a key that is equal for inputs of the same file or address."""
    if each.scheme is not None or each.source == STDIN:
        return each.source
    try:
        return os.path.realpath(each.source)
    except (OSError, ValueError):  # no path that a system has; opening it says so
        return each.source


def lists_of(arguments: Iterable[str], depth: int = 0) -> Iterator[Path]:
    """Yields the files of all lists that are named, by lists too."""
    for argument in arguments:
        if _is_list(argument) and depth < _MAX_NESTED_LISTS:
            path = Path(argument[1:])
            yield path
            with suppress(InputError):  # that argument is an input with a problem
                yield from lists_of(read_list(path), depth + 1)


class Resolver:
    """Addresses that stand for several inputs."""

    def inputs(self, address: str) -> list[Input] | None:
        """Returns the inputs of an address; None if it is one itself."""
        raise NotImplementedError


def _expanded_or_problem(
    argument: str, *, recursive: bool, resolve: Resolver | None, depth: int = 0
) -> list[Input]:
    try:
        return list(_expanded(argument, recursive=recursive, resolve=resolve, depth=depth))
    except InputError as error:
        return [Input(argument, problem=error)]


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
    elif _is_list(argument):
        if depth == _MAX_NESTED_LISTS:
            raise InputError(f"{argument}: lists that name lists go on and on; name recordings")
        for line in read_list(Path(argument[1:])):
            for each in _expanded_or_problem(
                line, recursive=recursive, resolve=resolve, depth=depth + 1
            ):
                yield replace(each, is_listed=True)
    else:
        yield from _matching(argument) if glob.has_magic(argument) else [_named_file(argument)]


def _named_file(path: str) -> Input:
    is_path = is_system_path(path)
    return Input(path, problem=None if is_path else InputError(f"{path} is no name of a file"))


def is_system_path(path: str) -> bool:
    """Returns True if a path has only characters that the system takes."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeError:
        return False


def read_list(path: Path) -> list[str]:
    """Returns the lines of a list of recordings, without comments and empty ones.

    A relative path that does not exist is looked for beside the list. Names need not be UTF-8, as
    a file system's are not. A line is taken with its spaces, and `#` at its beginning, where there
    is such a file.

    Raises:
        InputError: The list cannot be read, or is not text.
    """
    try:
        text = decode_text(path.read_bytes(), "surrogateescape")
    except (OSError, ValueError) as error:
        raise InputError(
            f"the list {path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    lines = filter(None, (named_on(line, path) for line in text.replace("\r", "\n").split("\n")))
    return [beside(line, path) for line in lines]


def named_on(line: str, path: Path) -> str:
    """Returns the name on a line of a list; empty for a comment, and a line without a name.

    Args:
        line: The line.
        path: The list.
    """
    if line != line.strip() and (_exists(line) or _exists(str(path.parent / line))):
        return line
    line = line.strip()
    is_comment = line.startswith("#")
    return line if not is_comment or _exists(line) or _exists(str(path.parent / line)) else ""


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
        problem = InputError(f"the folder {error.filename} cannot be read: {error.strerror}")
        if Path(error.filename) == folder:
            raise problem from error
        inputs.append(Input(str(error.filename), is_listed=True, problem=problem))

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


def _is_list(argument: str) -> bool:
    is_marked = argument.startswith("@") and len(argument) > 1
    return is_marked and not _is_folder(argument) and not _exists(argument)


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
