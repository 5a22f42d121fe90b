"""Names of outputs: by the recording, and where two would be the same by what tells them apart.

| inputs | outputs in `out` |
| --- | --- |
| `talk.mp3` | `out/talk` |
| `talks/` with `a/x.mp3` and `b/x.mp3`, recursive | `out/a/x`, `out/b/x` |
| `a/x.mp3`, `b/x.mp3` | `out/a/x`, `out/b/x` |
| `x.mp3`, `x.wav` | `out/x.mp3`, `out/x.wav` |
| two excerpts of `x.mp3` | `out/x-0.00`, `out/x-12.50` |
| those that are still the same | `out/x`, `out/x-2` |
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Final

from maxwhisper_cli.inputs.input import Input

_MAX_NAME_BYTES: Final = 200
"""Longest name, which leaves 55 bytes for an extension on most file systems."""


def output_names(inputs: Sequence[Input]) -> list[str]:
    """Returns for each input the path of its outputs in the output folder, without extension.

    No two are equal, on file systems neither that take upper and lower case for the same.
    """
    parents = _folders_below_common([each.path for each in inputs], inputs)
    names = [_joined(each.folder, _stem(each)) for each in inputs]
    ways: list[Callable[[int], str]] = [
        lambda i: _joined(inputs[i].folder or parents[i], _stem(inputs[i])),
        lambda i: _joined(inputs[i].folder or parents[i], _with_extension(inputs[i])),
    ]
    for name in ways:
        for group in _clashes(names):
            for index in group:
                names[index] = name(index)
    taken = {_identity(name) for name in names}
    for group in _clashes(names):
        for index in group[1:]:
            names[index] = _numbered(names[index], taken)
            taken.add(_identity(names[index]))
    return names


def _stem(each: Input) -> str:
    if each.stem is not None:
        return _safe(each.stem)
    stem = each.path.stem
    return f"{stem}-{each.start_seconds:.2f}" if each.is_excerpt else stem


def _with_extension(each: Input) -> str:
    if each.stem is not None or each.is_excerpt:
        return _stem(each)
    return each.path.name


def _safe(name: str) -> str:
    """Returns a name that is one part of a path."""
    name = re.sub(r"[/\\\0\x01-\x1f\ud800-\udfff]", "_", name)
    name = name if name.strip(". ") else f"_{name}"
    return name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _folders_below_common(paths: Sequence[Path], inputs: Sequence[Input]) -> list[str]:
    """Returns the folder of each file, below the deepest folder that holds them all."""
    folders = [
        "" if each.scheme is not None else str(Path(os.path.abspath(path)).parent)  # noqa: PTH100
        for each, path in zip(inputs, paths, strict=True)
    ]
    given = [folder for folder in folders if folder]
    common = os.path.commonpath(given) if given else ""
    relative = (os.path.relpath(folder, common) if folder else "" for folder in folders)
    return ["" if each == os.curdir else each for each in relative]


def _clashes(names: Sequence[str]) -> list[list[int]]:
    owners: defaultdict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        owners[_identity(name)].append(index)
    return [group for group in owners.values() if len(group) > 1]


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while _identity(f"{name}-{number}") in taken:
        number += 1
    return f"{name}-{number}"


def _identity(name: str) -> str:
    return unicodedata.normalize("NFC", str(PurePath(name))).casefold()
