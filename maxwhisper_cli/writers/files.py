"""Paths of outputs, checked before any work, and atomic writing."""

import os
import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.writers.base import Document, OutputError, Writer

STDIN = "-"
DEFAULT_NAME = "{stem}"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Output files of one input's transcript."""

    writers: tuple[Writer, ...]
    paths: tuple[Path, ...]
    """Path for each writer, in their order."""

    def write(self, document: Document) -> None:
        """Writes all files, each atomically.

        Raises:
            OutputError: one cannot be written; a file that was there before is left as it was.
        """
        texts = [writer.render(document) for writer in self.writers]
        for path, text in zip(self.paths, texts, strict=True):
            write_atomically(path, text)


def plan_outputs(
    sources: Sequence[str], writers: tuple[Writer, ...], folder: Path, name: str = DEFAULT_NAME
) -> list[Outputs]:
    """Names each source's outputs: `talks/a.b.mp3` -> `folder/a.b.txt`, standard input -> `stdin`.

    Args:
        sources: Inputs as the user gave them.
        writers: The formats.
        folder: Where the outputs go.
        name: Name of outputs without extension; `{stem}`, `{name}` (with its extension) and
            `{parent}` (the folder's name) are filled in from the input.

    Raises:
        OptionsError: an output would replace an input or another output (upper and lower case
            count as the same, as on some file systems), or `name` is no file name.
    """
    inputs = {_identity(Path(source)): source for source in sources if source != STDIN}
    owners: dict[str, str] = {}
    planned: list[Outputs] = []
    for source in sources:
        base = _output_name(source, name)
        paths = tuple(folder / f"{base}.{writer.name}" for writer in writers)
        for path in paths:
            identity = _identity(path)
            if identity in inputs:
                raise OptionsError(
                    f"{path}, an output of {source}, would replace the input {inputs[identity]}; "
                    "choose another --output-dir or --output-name"
                )
            if identity in owners:
                raise OptionsError(_clash(owners[identity], source, path))
            owners[identity] = source
        planned.append(Outputs(writers, paths))
    return planned


def prepare_folder(folder: Path, paths: Iterable[Path]) -> None:
    """Creates the output folder if it is missing, and checks that the paths in it can be written.

    Raises:
        OutputError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the output folder {folder}: {error.strerror}; choose another"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the output folder {folder} cannot be written to; choose another")
    for path in paths:
        if path.is_dir():
            raise OutputError(f"{path} is a folder; move it or choose another place")


def write_atomically(path: Path, text: str) -> None:
    """Writes UTF-8 beside the target, then moves it there.

    Raises:
        OutputError: it cannot be written; what was at `path` is still there.
    """
    partial = path.with_name(f".maxwhisper-{secrets.token_hex(4)}.tmp")
    try:
        # Only a path that is no Unicode, as Linux allows, has anything to be replaced.
        with partial.open("x", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _output_name(source: str, name: str) -> str:
    path = Path("stdin" if source == STDIN else source)
    parent = path.absolute().parent
    if parent.name == "..":
        parent = parent.resolve()
    fields = {"stem": path.stem, "name": path.name, "parent": parent.name}
    try:
        filled = re.sub(r"\{(\w*)\}", lambda match: fields[match[1]], name)
    except KeyError as error:
        raise OptionsError(
            f"--output-name knows {{stem}}, {{name}} and {{parent}}, but not {{{error.args[0]}}}"
        ) from error
    if "/" in filled or not name:
        raise OptionsError(f"--output-name {name!r} is no file name; --output-dir takes the folder")
    return filled


def _clash(first: str, second: str, path: Path) -> str:
    if os.path.realpath(first) == os.path.realpath(second):
        return f"{second} is given more than once; name each input once"
    return (
        f"{first} and {second} would both be written to {path}; keep them apart, "
        "for instance with --output-name '{parent}-{name}'"
    )


def _identity(path: Path) -> str:
    """Returns a key that is equal for paths to the same file, on any file system."""
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()
