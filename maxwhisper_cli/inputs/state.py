"""Record of the recordings that are done, in the output folder, for a run that goes on.

A line of JSON for each finished recording: the key of its content, of the options, and its outputs
with their hashes. Lines are only appended, under a lock and flushed to the disk, each in one write;
a line that was cut off is ignored. Several processes may append at once.

A recording counts as done if its content was transcribed with the same options, and the outputs are
still as they were written. Its name does not matter: outputs of a renamed file are copied.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maxwhisper_cli.inputs.input import STDIN, Input
from maxwhisper_cli.writers.files import write_atomically
from weights.cache import hash_file, record_written
from weights.errors import MaxWhisperError

FILE_NAME: Final = ".maxwhisper-done.jsonl"
_NAMED_FORMATS: Final = frozenset({"rttm"})
"""Formats that hold the name of the recording, which a copy would not."""


@dataclass(frozen=True, slots=True)
class Done:
    """A recording that is done."""

    key: str
    outputs: Mapping[str, tuple[str, str]]
    """Path relative to the output folder, and sha256, for each format."""
    seconds: float
    language: str


class DoneRecordings:
    """Recordings that are done in one output folder, with one set of options."""

    def __init__(self, folder: Path, options: Mapping[str, object]) -> None:
        """Reads nothing yet.

        Args:
            folder: The output folder.
            options: All that a transcript depends on, besides the recording.
        """
        self._folder = folder
        self._path = folder / FILE_NAME
        text = json.dumps(options, sort_keys=True, default=str)
        self.options_key = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._done: dict[str, list[Done]] = {}

    def load(self) -> None:
        """Reads what is done; lines that make no sense are left out."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise MaxWhisperError(f"{self._path} cannot be read: {error.strerror}") from error
        for line in data.split(b"\n"):
            done = _parsed(line, self.options_key)
            if done is not None:
                self._done.setdefault(done.key, []).append(done)

    def reuse(self, key: str, outputs: Mapping[str, Path]) -> Done | None:
        """Returns the record of a recording if all its outputs are here, copied if need be.

        Args:
            key: Key of its content.
            outputs: Path of each format.
        """
        known = [each for each in self._done.get(key, ()) if outputs.keys() <= each.outputs.keys()]
        for done in known:
            if all(self._is_unchanged(done, name, path) for name, path in outputs.items()):
                return done
        return next(filter(None, (self._copied(each, outputs) for each in known)), None)

    def _copied(self, done: Done, outputs: Mapping[str, Path]) -> Done | None:
        texts = [self._text(done, name) for name in outputs]
        if any(text is None for text in texts):
            return None
        for path, text in zip(outputs.values(), texts, strict=True):
            write_atomically(path, text or "")
            if path.suffix == ".txt":
                record_written(path)
        self.add(done.key, outputs, done.seconds, done.language)
        return done

    def _text(self, done: Done, name: str) -> str | None:
        """Returns an output as it was written; None if it is not so any more."""
        where, sha256 = done.outputs[name]
        if name in _NAMED_FORMATS:
            return None
        try:
            data = (self._folder / where).read_bytes()
            return data.decode() if hashlib.sha256(data).hexdigest() == sha256 else None
        except (OSError, ValueError):
            return None

    def _is_unchanged(self, done: Done, name: str, path: Path) -> bool:
        where, sha256 = done.outputs[name]
        try:
            return self._folder / where == path and hash_file(path) == sha256
        except OSError:
            return False

    def add(self, key: str, outputs: Mapping[str, Path], seconds: float, language: str) -> None:
        """Records a recording whose outputs are in place.

        Raises:
            MaxWhisperError: The record cannot be written.
        """
        try:
            entry = {
                "key": key,
                "options": self.options_key,
                "outputs": {
                    name: [os.path.relpath(path, self._folder), hash_file(path)]
                    for name, path in outputs.items()
                },
                "seconds": seconds,
                "language": language,
            }
            append_line(self._path, json.dumps(entry, ensure_ascii=False))
        except OSError as error:
            raise MaxWhisperError(
                f"{self._path} cannot be written: {error.strerror}; "
                "the outputs are there, but --resume would make them again"
            ) from error


def append_line(path: Path, line: str) -> None:
    """Appends a line to a file that several processes may append to, and flushes it to the disk.

    Raises:
        OSError: It cannot be written.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        n_bytes = os.fstat(handle).st_size
        is_cut = n_bytes > 0 and os.pread(handle, 1, n_bytes - 1) != b"\n"
        start = "\n" if is_cut else ""
        data = f"{start}{line}\n".encode(errors="backslashreplace")
        if os.write(handle, data) != len(data):
            raise OSError(28, "No space left on device")
        os.fsync(handle)
    finally:
        os.close(handle)  # which unlocks it


def content_key(each: Input, path: Path) -> str | None:
    """Returns the key of what is transcribed: sha256 of the file, and the excerpt and language.

    None is something that cannot be read twice: standard input, a pipe, or no file at all.
    """
    try:
        if each.source == STDIN or not path.is_file():
            return None
        return excerpt_key(each, hash_file(path))
    except (OSError, ValueError):
        return None


def excerpt_key(each: Input, content: str) -> str:
    """Returns the key of an excerpt of a recording.

    Args:
        each: The input.
        content: Key of the whole recording.
    """
    excerpt: Iterable[object] = (
        (each.start_seconds, each.duration_seconds) if each.is_excerpt else ()
    )
    return ":".join(map(str, (content, *excerpt, each.language or "")))


def _parsed(line: bytes, options_key: str) -> Done | None:
    try:
        entry = json.loads(line)
        if entry["options"] != options_key:
            return None
        outputs = {
            str(name): (str(where), str(sha256))
            for name, (where, sha256) in entry["outputs"].items()
        }
        return Done(str(entry["key"]), outputs, float(entry["seconds"]), str(entry["language"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
