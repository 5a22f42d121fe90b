"""Paths of outputs, checked before any work, and atomic writing.

| at the path | answer |
| --- | --- |
| an input, a file of the model, another output | OptionsError |
| a file | replaced whole or not at all; it keeps its owner and permissions |
| a file that may not be written, a folder | OutputError |
| a symbolic link | followed, as a shell's `>` does |
| a pipe or device, and what lies in /dev | written to, as a shell's `>` does |
| a name that the system does not take | OutputError |
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.writers import DEFAULT_NAME
from maxwhisper_cli.writers.base import Document, OutputError, Writer
from weights.cache import record_written

STDIN = "-"
_REFERENCE_SUFFIX = ".txt"
"""Format that `compare` would use as a reference, unless it has a record of its origin."""
_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Outputs:
    """Output files of one input's transcript."""

    writers: tuple[Writer, ...]
    paths: tuple[Path, ...]
    """Path for each writer, in their order."""

    def write(self, document: Document) -> None:
        """Writes all files, each atomically.

        Raises:
            OutputError: One cannot be written; a file that was there before is left as it was.
        """
        texts = [writer.render(document) for writer in self.writers]
        for path, text in zip(self.paths, texts, strict=True):
            write_atomically(path, text)
            if path.suffix == _REFERENCE_SUFFIX:
                record_written(path)


def plan_outputs(
    sources: Sequence[str],
    writers: tuple[Writer, ...],
    folder: Path,
    name: str = DEFAULT_NAME,
    *,
    read: Iterable[Path] = (),
    bases: Sequence[str] | None = None,
) -> list[Outputs]:
    """Names each source's outputs: `talks/a.b.mp3` -> `folder/a.b.txt`, standard input -> `stdin`.

    Args:
        sources: Inputs as the user gave them.
        writers: The formats.
        folder: Where the outputs go.
        name: Name of outputs without extension; `{stem}`, `{name}` (with its extension) and
            `{parent}` (the folder's name) are filled in from the input.
        read: Other files that are read: of the model, lists.
        bases: Path of each source's outputs in the folder, instead of `name`.

    Raises:
        OptionsError: An output would replace an input or another output (upper and lower case
            count as the same, as on some file systems), or `name` is no file name.
    """
    recordings = (Path(source) for source in sources if source != STDIN)
    inputs = {_identity(path): path for path in (*recordings, *read)}
    owners: dict[str, str] = {}
    planned: list[Outputs] = []
    for index, source in enumerate(sources):
        base = bases[index] if bases is not None else _output_name(source, name)
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


def check_reports(
    reports: Mapping[str, Path | None], inputs: Iterable[Path], outputs: Iterable[Path] = ()
) -> None:
    """Checks that no report replaces an input, an output or another report.

    Args:
        reports: Path of each option, such as `--json`; None if it is not given.
        inputs: Files that are read.
        outputs: Other files that are written.

    Raises:
        OptionsError: one does.
    """
    taken = {_identity(path): f"the output {path}" for path in outputs}
    taken |= {_identity(path): f"the input {path}" for path in inputs}
    options: dict[str, str] = {}
    for option, path in reports.items():
        if path is None:
            continue
        if str(path) == STDIN:
            raise OptionsError(f"{option} takes a file; standard output is /dev/stdout")
        identity = _identity(path)
        if identity in taken:
            raise OptionsError(
                f"{option} {path} would replace {taken[identity]}; choose another name"
            )
        if identity in options:
            raise OptionsError(
                f"{options[identity]} and {option} would both be written to {path}; "
                "give each a name of its own"
            )
        options[identity] = option


def files_of_model(model: str | None) -> list[Path]:
    """Returns the files of a model that is given by its path; none of one given by name."""
    try:
        path = Path(model or "").expanduser()
        if model is None or not path.exists():
            return []
        return [path] if path.is_file() else [*path.iterdir()]
    except (OSError, RuntimeError, ValueError):  # loading it says what is wrong
        return []


def refused_outputs(planned: Sequence[Outputs]) -> dict[int, OutputError]:
    """Returns those outputs that cannot be written, by their index, with the reason."""
    refused: dict[int, OutputError] = {}
    for index, outputs in enumerate(planned):
        try:
            for path in outputs.paths:
                check_place(path)
        except OutputError as error:
            refused[index] = error
    return refused


def prepare_folder(folder: Path, paths: Iterable[Path] = ()) -> None:
    """Creates the output folder if it is missing, and checks that the paths in it can be written.

    Raises:
        OutputError: They cannot.
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
        check_place(path)


def check_place(path: Path) -> None:
    """Checks that a file may be written at a path.

    Raises:
        OutputError: a folder is there, a protected file, or the system does not take the name.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path} is a folder; move it or choose another place")
    if not mode & _ANY_WRITE or not os.access(path, os.W_OK):
        raise OutputError(f"{path} is there and may not be written; choose another place")


def write_atomically(path: Path, text: str) -> None:
    """Writes UTF-8 beside the target, then moves it there.

    Raises:
        OutputError: It cannot be written; what was at `path` is still there.
    """
    check_place(path)
    try:
        # Only a path that is no Unicode, as Linux allows, has anything to be replaced.
        data = text.encode("utf-8", errors="backslashreplace")
        if _is_no_file(path):
            path.write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _replace(target: Path, data: bytes) -> None:
    partial = target.with_name(f".maxwhisper-{os.urandom(4).hex()}.tmp")
    try:
        with partial.open("xb") as file:
            file.write(data)
        if target.exists():
            status = target.stat()
            with suppress(OSError):  # only root may give a file to somebody else
                os.chown(partial, status.st_uid, status.st_gid)
            partial.chmod(stat.S_IMODE(status.st_mode))
        partial.replace(target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _is_no_file(path: Path) -> bool:
    """Tells what a shell writes to and does not replace: pipes, devices, `/dev/stdout`."""
    is_there = path.exists() and not path.is_file()
    return is_there or Path("/dev") in absolute(path).parents


def absolute(path: Path) -> Path:
    """Returns an absolute path.

    Raises:
        OutputError: the path is relative, and the current folder no longer exists.
    """
    try:
        return path.absolute()
    except OSError as error:
        raise OutputError(
            f"{path}: the current folder no longer exists; change to another, or give a whole path"
        ) from error


def _cannot_write(path: Path, error: OSError | ValueError) -> OutputError:
    message = getattr(error, "strerror", None) or error
    return OutputError(f"cannot write {path}: {message}; choose another place or --output-name")


def _output_name(source: str, name: str) -> str:
    path = Path("stdin" if source == STDIN else source)
    parent = absolute(path).parent
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
    return unicodedata.normalize("NFC", os.path.realpath(absolute(path))).casefold()
