"""Manifests: one recording or excerpt of it a line, with fields of its own that are carried along.

| file | content |
| --- | --- |
| `*.jsonl`, `*.json`, also `.gz` | an object a line, as NeMo has it: `audio_filepath` and more |
| `*.parquet` | a row each, with the same columns; needs pyarrow |
| anything else, also `.gz` | a path or address a line |

`audio_filepath` (or `path`) is a path, as it is or as seen from the manifest's folder, or an
address. `offset` and `duration` in seconds choose an excerpt, `duration` alone is the length of the
recording; `language` (or `lang`) holds for this one; `id` names its outputs. `null` is as good as
missing.
"""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from maxwhisper_cli.inputs.expand import beside, is_system_path, named_on
from maxwhisper_cli.inputs.input import Input, InputError
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions

_PATH_FIELDS: Final = ("audio_filepath", "path")
_LANGUAGE_FIELDS: Final = ("language", "lang")
_MAX_LINE_BYTES: Final = 2**24
_MAX_SECONDS: Final = 1e9
_OTHER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OBJECT_SUFFIXES: Final = (".jsonl", ".json", ".ndjson")


def read_manifest(path: Path, *, looks_for_files: bool = True) -> list[Input]:
    """Reads a manifest.

    Args:
        path: The manifest.
        looks_for_files: False leaves paths as they are, which saves looking at each.

    Raises:
        InputError: It cannot be read, names nothing, or a line of it makes no sense.
    """
    try:
        inputs = list(_inputs(path, looks_for_files=looks_for_files))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the manifest {path} cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the manifest {path} is not text in UTF-8: {error}") from error
    if not inputs:
        raise InputError(f"the manifest {path} names no recording")
    return inputs


def _inputs(path: Path, *, looks_for_files: bool) -> Iterator[Input]:
    languages: dict[str, str] = {}
    for where, entry in _entries(path):
        if isinstance(entry, str):
            entry = {_PATH_FIELDS[0]: entry}  # noqa: PLW2901
        if not isinstance(entry, Mapping):
            raise InputError(
                f"{where} is no JSON object, such as "
                '{"audio_filepath": "talk.mp3", "duration": 62.5}'
            )
        yield _input(where, entry, languages, path if looks_for_files else None)


def _input(
    where: str, entry: Mapping[str, Any], languages: dict[str, str], path: Path | None
) -> Input:
    source = next((entry[name] for name in _PATH_FIELDS if entry.get(name)), None)
    if not isinstance(source, str) or not is_system_path(source):
        raise InputError(f"{where} names no recording: audio_filepath is missing or no text")
    identifier = entry.get("id")
    if identifier is not None and not isinstance(identifier, str | int):
        raise InputError(f"{where}: id is neither text nor a whole number")
    offset, duration = _seconds(where, entry, "offset"), _seconds(where, entry, "duration")
    language = next((entry[name] for name in _LANGUAGE_FIELDS if entry.get(name)), None)
    return Input(
        source if path is None else beside(source, path),
        stem=None if identifier is None else str(identifier),
        start_seconds=offset or 0.0,
        duration_seconds=duration,
        language=None if language is None else _language(where, language, languages),
        fields=entry,
        is_listed=True,
    )


def _seconds(where: str, entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MAX_SECONDS:  # which NaN is not
        raise InputError(
            f"{where}: {name} is {value!r:.40}, and must be a number of seconds from 0 on"
        )
    return float(value)


def _language(where: str, given: object, known: dict[str, str]) -> str:
    """Returns a language as it was given, after checking each once."""
    if not isinstance(given, str):
        raise InputError(f"{where}: language is no text")
    if given not in known:
        try:
            known[given] = TranscribeOptions(language=given).language or given
        except OptionsError as error:
            raise InputError(f"{where}: {error}") from error
    return known[given]


def _entries(path: Path) -> Iterator[tuple[str, object]]:
    """Yields entries with their place; an entry is an object of JSON, or a line."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".parquet"]:
        yield from _rows(path)
        return
    is_packed = suffixes[-1:] == [".gz"]
    kind = suffixes[-2:-1] if is_packed else suffixes[-1:]
    is_of_objects = kind != [] and kind[0] in _OBJECT_SUFFIXES
    with gzip.open(path) if is_packed else path.open("rb") as file:
        for number, line in enumerate(_lines(file, path), 1):  # type: ignore[arg-type]
            where = f"{path}, line {number}"
            text = line.decode("utf-8", "strict" if is_of_objects else "surrogateescape")
            named = text.strip() if is_of_objects else named_on(text.rstrip("\r\n"), path)
            if named:
                yield where, _parsed(where, named) if is_of_objects else named


def _lines(file: io.BufferedReader, path: Path) -> Iterator[bytes]:
    is_first = True
    while line := file.readline(_MAX_LINE_BYTES + 1):
        if len(line) > _MAX_LINE_BYTES:
            raise InputError(f"the manifest {path} has a line of more than 16 MiB")
        if is_first and line.startswith(_OTHER_MARKS):
            raise InputError(f"the manifest {path} is not text in UTF-8: save it so")
        yield line.removeprefix(codecs.BOM_UTF8) if is_first else line
        is_first = False


def _parsed(where: str, line: str) -> object:
    try:
        return json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON: {error}") from error


def _rows(path: Path) -> Iterable[tuple[str, object]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise InputError(f"{path} needs a package: pip install pyarrow") from error
    try:
        number = 0
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except ArrowException as error:
        raise InputError(f"the manifest {path} cannot be read: {error}") from error
