"""Files that each node needs, sent once through the object store: weights and compiled graphs.

Weights are sent where they are one file on the machine that began the run; graphs that one node has
compiled are sent to those that join later. A file goes into the same place of the cache folder, and
only where there is none; both are checked by their readers as any file of the cache is.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weights.cache import cache_root, model_folder
from weights.models import NAMED_MODELS
from weights.resolve import resolve

_ARTIFACTS: Final = "compiled"
_MODELS: Final = "models"
_SUFFIXES: Final = (".mef", ".json")
_FILE_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file of the cache folder."""

    folder: str
    """Folder within the cache folder."""
    name: str
    data: Any
    """Its bytes, in any form."""

    def path(self) -> Path:
        """Returns its place on this machine."""
        return cache_root() / self.folder / Path(self.name).name


def install(files: Iterable[SharedFile]) -> None:
    """Writes the files that are missing here; where that fails, they are made here as usual."""
    for file in files:
        path = file.path()
        if path.exists():
            continue
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(memoryview(file.data))
            part.chmod(_FILE_MODE)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)


def new_artifacts(since: float) -> tuple[SharedFile, ...]:
    """Returns the graphs that were compiled since a time, each before its record."""
    folder = cache_root() / _ARTIFACTS
    paths = [path for suffix in _SUFFIXES for path in sorted(folder.glob(f"*{suffix}"))]
    return tuple(
        SharedFile(_ARTIFACTS, path.name, path.read_bytes())
        for path in paths
        if path.stat().st_mtime >= since
    )


def model_files(name: str, *, is_offline: bool) -> tuple[SharedFile, ...]:
    """Returns the weights of a named model, if they are one file in its cache folders here.

    Weights in packages and at paths of their own are left to the nodes.

    Raises:
        WeightsError: They are neither here nor can be fetched.
    """
    if name not in NAMED_MODELS:
        return ()
    path = resolve(name, offline=is_offline)
    if path.parent == model_folder(None):
        return (SharedFile(_MODELS, path.name, path.read_bytes()),)
    is_published = path.suffix == ".pt" and path.is_file()
    return (SharedFile(_MODELS, f"{name}.pt", path.read_bytes()),) if is_published else ()
