"""The cache folder and other folders of weights on this machine, and records of their files.

A file's sha256 is computed once: a small record stores it for as long as size and time of change
stay the same. Another kind of record says that a file is as this program wrote it. Nothing here
fetches.
"""

import hashlib
import itertools
import json
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import platformdirs

from weights.errors import WeightsError

CACHE_VARIABLE = "MAXWHISPER_CACHE"
_CHECKED, _WRITTEN = "checked", "written"
"""Folders of records."""

_log = logging.getLogger(__name__)


def cache_root() -> Path:
    """Returns the project's cache folder: `$MAXWHISPER_CACHE`, or the user's (not created here).

    A user without a home, as in a container that runs under a bare number, gets one of his own
    among the temporary files.

    Raises:
        WeightsError: there is no such folder, or it belongs to somebody else.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return expanded(Path(chosen))
    return _in_home(platformdirs.user_cache_path) or _folder_without_home()


def data_root() -> Path:
    """Returns the folder of saved data: in the home, else in the cache folder."""
    return _in_home(platformdirs.user_data_path) or cache_root()


def expanded(path: Path) -> Path:
    """Returns a path with its `~` expanded.

    Raises:
        WeightsError: nobody of that name has a home.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise WeightsError(f"{path}: the home folder is not known; give a whole path") from error


def model_folder(model_dir: Path | None = None) -> Path:
    """Returns the folder of weights: `model_dir`, or `models` in the cache folder."""
    return cache_root() / "models" if model_dir is None else expanded(model_dir)


def openai_whisper_folder() -> Path:
    """Returns the folder of openai-whisper's downloads, which are the same files as ours."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        return folder.expanduser() / "whisper"
    except RuntimeError:  # without a home it has kept nothing
        return cache_root() / "whisper"


def _in_home(folder: Callable[[str], Path]) -> Path | None:
    try:
        path = folder("maxwhisper")
    except RuntimeError:  # there is no home; older versions of platformdirs leave a `~`
        return None
    return path if path.is_absolute() else None


def _folder_without_home() -> Path:
    try:
        folder = Path(tempfile.gettempdir()) / f"maxwhisper-{os.getuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=stat.S_IRWXU)
        status = folder.lstat()
    except OSError as error:
        raise WeightsError(
            f"there is no home folder and none for temporary files ({error.strerror}): "
            f"set {CACHE_VARIABLE} to a folder"
        ) from error
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not is_own or unsafe_because(folder) is not None:  # graphs in it are run
        raise WeightsError(
            f"there is no home folder, and {folder} is not safe: set {CACHE_VARIABLE} to a folder"
        )
    return folder


def unsafe_because(folder: Path) -> str | None:
    """Returns the reason why what lies in a folder must not be run; None if it may.

    A folder is safe if it is the user's or root's, and nobody else may write there. One that does
    not exist is safe too.
    """
    try:
        status = folder.stat()
    except OSError:
        return None
    if status.st_uid not in {os.getuid(), 0}:
        return f"{folder} belongs to user {status.st_uid}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write in {folder} (chmod go-w mends it)"
    return None


def set_aside(path: Path) -> None:
    """Renames a file that is in the way of one of ours, since it may be the user's.

    Raises:
        OSError: it cannot be renamed.
    """
    if not path.exists():
        return
    names = (path.with_name(f"{path.name}.old{number}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    _log.warning("%s: another file was in its place; it is now %s", path, aside.name)


def record_written(path: Path) -> None:
    """Stores that a file is as this program wrote it; if that fails, nobody knows."""
    _write_record(path, _WRITTEN, {})


def is_written(path: Path) -> bool:
    """Returns True for a file that is as this program wrote it."""
    try:
        record = _read_record(path, _WRITTEN)
        return record is not None and record.items() >= _state(path).items()
    except OSError:
        return False


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, from its record if the file has not changed since.

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        record = _read_record(path, _CHECKED)
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
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_sha256(path: Path, sha256: str) -> None:
    """Stores a file's sha256 atomically; if that fails, it is computed again next time."""
    _write_record(path, _CHECKED, {"sha256": sha256})


def _write_record(path: Path, kind: str, more: Mapping[str, str]) -> None:
    with suppress(OSError):
        target = _record_path(path, kind)
        record = json.dumps({**_state(path), **more})
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


def _record_path(path: Path, kind: str) -> Path:
    return cache_root() / kind / f"{hashlib.sha256(bytes(path.resolve())).hexdigest()[:32]}.json"


def _read_record(path: Path, kind: str) -> dict[str, object] | None:
    try:
        record = json.loads(_record_path(path, kind).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
