"""Folders of weights on this machine, and records of the sha256 of their files.

A file's sha256 is computed once: a small record stores it for as long as size and time of change
stay the same. Nothing here fetches.
"""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import platformdirs

from weights.errors import WeightsError

CACHE_VARIABLE = "MAXWHISPER_CACHE"


def cache_root() -> Path:
    """Returns the project's cache folder: `$MAXWHISPER_CACHE`, or the user's (not created here)."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("maxwhisper")


def model_folder(model_dir: Path | None = None) -> Path:
    """Returns the folder of weights: `model_dir`, or `models` in the cache folder."""
    return cache_root() / "models" if model_dir is None else model_dir.expanduser()


def openai_whisper_folder() -> Path:
    """Returns the folder of openai-whisper's downloads, which are the same files as ours."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, from its record if the file has not changed since.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        record = _read_record(path)
        if record is not None and record.items() >= _state(path).items():
            return str(record.get("sha256"))
        sha256 = hash_file(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    record_sha256(path, sha256)
    return sha256


def hash_file(path: Path) -> str:
    """Computes the sha256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_sha256(path: Path, sha256: str) -> None:
    """Stores a file's sha256 atomically; if that fails, it is computed again next time."""
    target = _record_path(path)
    with suppress(OSError):
        record = json.dumps(_state(path) | {"sha256": sha256})
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(record)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _state(path: Path) -> dict[str, object]:
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "n_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def _record_path(path: Path) -> Path:
    return (
        cache_root() / "checked" / f"{hashlib.sha256(bytes(path.resolve())).hexdigest()[:32]}.json"
    )


def _read_record(path: Path) -> dict[str, object] | None:
    try:
        record = json.loads(_record_path(path).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
