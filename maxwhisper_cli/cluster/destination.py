"""Folder of a run's outputs: on this machine, or at an address that fsspec opens.

| file | content |
| --- | --- |
| `run.json` | hashes of plan and options; another manifest or other options are refused |
| `unit-000012.jsonl` or `.parquet` | a line or row for each recording of a unit |
| `unit-000012.done.json` | counts, bytes and sha256 of it; written after it |

On a disk a file is written aside, flushed and moved into place; an object store puts it whole.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from maxwhisper_cli.cluster.plan import Unit
from maxwhisper_cli.inputs.remote import is_remote, remote_errors, require_fsspec
from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.writers.base import OutputError
from weights.errors import MaxWhisperError

UNIT_PREFIX: Final = "unit-"
"""Beginning of the names of a unit's files."""
JSONL: Final = "jsonl"
PARQUET: Final = "parquet"
FORMATS: Final = (JSONL, PARQUET)
_SUBJECTS: Final = {
    "plan": "manifest",
    "options": "model, options or version",
    "format": "output format",
}


@dataclass(frozen=True, slots=True)
class Destination:
    """Outputs of one run."""

    place: str
    """Folder or address."""
    format: str = JSONL
    """`jsonl` or `parquet`."""

    def begin(self, plan: str, options: str) -> None:
        """Claims the folder for a run, or finds that it is that of the same run.

        Args:
            plan: Hash of the plan.
            options: Hash of the options.

        Raises:
            OptionsError: It holds another run.
            MaxWhisperError: It cannot be written.
        """
        own = {"plan": plan, "options": options, "format": self.format}
        data = self._read("run.json")
        if data is None:
            self._write("run.json", json.dumps(own).encode())
            return
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise OptionsError(f"{self.place}/run.json is none of ours; choose another folder")
        for name, subject in _SUBJECTS.items():
            if found.get(name, JSONL) != own[name]:
                raise OptionsError(
                    f"{self.place} holds a run with another {subject}; choose another folder"
                )

    def is_done(self, unit: Unit) -> bool:
        """Returns True if a unit's output is there as it was written."""
        data = self._read(f"{_name(unit)}.done.json")
        try:
            record = json.loads(data or b"null")
            return bool(
                record["n_recordings"] == len(unit.entries)
                and self._n_bytes(self._output(unit)) == record["n_bytes"]
            )
        except (ValueError, KeyError, TypeError):
            return False

    def write(self, unit: Unit, records: Sequence[Mapping[str, Any]]) -> None:
        """Puts a unit's output and its record in place.

        Raises:
            MaxWhisperError: It cannot be written.
        """
        data = _to_parquet(records) if self.format == PARQUET else _to_lines(records)
        record = {
            "n_recordings": len(records),
            "n_failed": sum("error" in each for each in records),
            "seconds": round(sum(each.get("seconds", 0.0) for each in records), 3),
            "n_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        self._write(self._output(unit), data)
        self._write(f"{_name(unit)}.done.json", json.dumps(record).encode())

    def _output(self, unit: Unit) -> str:
        return f"{_name(unit)}.{self.format}"

    def _read(self, name: str) -> bytes | None:
        try:
            if is_remote(self.place):
                system, path = self._remote(name)
                with remote_errors(self.place):
                    return bytes(system.cat_file(path)) if system.exists(path) else None
            return (Path(self.place) / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MaxWhisperError(f"{self.place}/{name} cannot be read: {error}") from error

    def _n_bytes(self, name: str) -> int:
        if is_remote(self.place):
            system, path = self._remote(name)
            with remote_errors(self.place):
                return int(system.size(path)) if system.exists(path) else -1
        target = Path(self.place) / name
        return target.stat().st_size if target.is_file() else -1

    def _write(self, name: str, data: bytes) -> None:
        if is_remote(self.place):
            system, path = self._remote(name)
            with remote_errors(self.place):
                system.makedirs(path.rpartition("/")[0], exist_ok=True)
                system.pipe_file(path, data)
            return
        target = Path(self.place) / name
        part = target.with_name(f".{name}.{secrets.token_hex(4)}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except OSError as error:
            raise OutputError(
                f"cannot write {target}: {error.strerror or error}; "
                "what is done stays, and the same command goes on"
            ) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _remote(self, name: str) -> tuple[Any, str]:
        fsspec = require_fsspec(self.place)
        with remote_errors(self.place):
            system, path = fsspec.core.url_to_fs(f"{self.place.rstrip('/')}/{name}")
        return system, str(path)


def _to_lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    lines = (json.dumps(each, ensure_ascii=False, allow_nan=False, default=str) for each in records)
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


def _to_parquet(records: Sequence[Mapping[str, Any]]) -> bytes:
    from maxwhisper_cli.cluster.parquet import to_parquet

    return to_parquet(records)


def _name(unit: Unit) -> str:
    return f"{UNIT_PREFIX}{unit.number:06d}"
