"""Configuration files: their places, in order, and their content.

Places, nearest first: the nearest `maxwhisper.toml`, or `[tool.maxwhisper]` of a `pyproject.toml`,
from the current folder upward; the user's file; the system's. The order is uv's.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from maxwhisper_cli.transcription.options import OptionsError
from weights.cache import expanded

FILE_NAME = "maxwhisper.toml"
PYPROJECT = "pyproject.toml"
_MAX_BYTES = 2**20
_MAX_PARENTS = 100


class ConfigurationError(OptionsError):
    """A configuration file or a setting in it cannot be used."""


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """A configuration file that was read."""

    path: Path
    content: Mapping[str, object]
    kind: str = "chosen"
    """`project`: found in the current folder or above, and so maybe a stranger's; `user`; `system`;
    `chosen`: named by `--config-file`."""

    @property
    def is_project(self) -> bool:
        """True if it was found in the current folder or above."""
        return self.kind == "project"

    def fail(self, key: str, reason: str) -> ConfigurationError:
        """Returns the error of a key."""
        return ConfigurationError(f"{self.path}: {key}: {reason}")


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files that are used, nearest first, and warnings about those that are not."""

    files: tuple[ConfigurationFile, ...] = ()
    warnings: tuple[str, ...] = ()


def find_files(chosen: Path | None = None, *, is_off: bool = False) -> FoundFiles:
    """Returns the configuration files that hold here.

    Args:
        chosen: The one file to read, instead of looking for any.
        is_off: True reads none.

    Raises:
        ConfigurationError: A file cannot be read, or is no TOML.
    """
    if is_off:
        return FoundFiles()
    if chosen is not None:
        path = expanded(chosen)
        content = _read(path)
        if path.name == PYPROJECT:
            content = _tool_table(content) or {}
        return FoundFiles((ConfigurationFile(path.absolute(), content),))
    warnings: list[str] = []
    project = _project_file(warnings)
    paths = {"user": _user_file(), "system": _system_file()}
    others = [ConfigurationFile(p, _read(p), kind) for kind, p in paths.items() if p]
    return FoundFiles((*((project,) if project else ()), *others), tuple(warnings))


def places() -> list[Path]:
    """Returns the paths of the files of the user and of the system, whether they exist or not."""
    return [*_user_places(), *_system_places()]


def _project_file(warnings: list[str]) -> ConfigurationFile | None:
    """Returns the nearest file from the current folder upward that somebody trusted owns."""
    for folder in _folders_upward():
        own = folder / FILE_NAME
        if _is_file(own):
            if _is_trusted(own, warnings):
                return ConfigurationFile(own, _read(own), "project")
            continue
        shared = folder / PYPROJECT
        if _is_file(shared):
            table = _shared_table(shared, warnings)
            if table is not None and _is_trusted(shared, warnings):
                return ConfigurationFile(shared, table, "project")
    return None


def _folders_upward() -> list[Path]:
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return []
    return [here, *here.parents][:_MAX_PARENTS]


def _is_trusted(path: Path, warnings: list[str]) -> bool:
    """Returns True if a file is the user's or root's, and not for everybody to write."""
    try:
        status = path.stat()
    except OSError as error:
        warnings.append(f"{path}: not read ({error.strerror or error})")
        return False
    is_own = status.st_uid in {os.getuid(), 0}
    if is_own and not status.st_mode & stat.S_IWOTH:
        return True
    reason = "everybody may write it" if is_own else "it belongs to somebody else"
    warnings.append(f"{path}: not used, since {reason}; --config-file {path} uses it")
    return False


def _shared_table(path: Path, warnings: list[str]) -> Mapping[str, object] | None:
    """Returns our table of a `pyproject.toml`, which other programs own as well."""
    try:
        return _tool_table(_read(path))
    except ConfigurationError as error:
        warnings.append(f"{error}; it is not used")
        return None


def _tool_table(content: Mapping[str, object]) -> Mapping[str, object] | None:
    tool = content.get("tool")
    table = tool.get("maxwhisper") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None


def _read(path: Path) -> Mapping[str, object]:
    """Returns the content of a TOML file.

    Raises:
        ConfigurationError: It cannot be read, is too large, or is no TOML.
    """
    import tomllib  # it is imported where there is a file

    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for its writer
            raise ConfigurationError(f"{path}: not a regular file; name a configuration file")
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigurationError(f"{path}: larger than a configuration file may be (1 MiB)")
        text = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigurationError(f"{path}: no valid TOML: {reason}; mend it") from error


def _user_file() -> Path | None:
    return next(filter(_is_file, _user_places()), None)


def _system_file() -> Path | None:
    return next(filter(_is_file, _system_places()), None)


def _user_places() -> Iterator[Path]:
    chosen = os.environ.get("XDG_CONFIG_HOME", "")
    if Path(chosen).is_absolute():
        yield Path(chosen) / "maxwhisper" / FILE_NAME
        return
    try:
        yield Path.home() / ".config" / "maxwhisper" / FILE_NAME
    except RuntimeError:  # there is no home
        return


def _system_places() -> Iterator[Path]:
    folders = os.environ.get("XDG_CONFIG_DIRS", "") or "/etc/xdg"
    for folder in folders.split(os.pathsep):
        if Path(folder).is_absolute():
            yield Path(folder) / "maxwhisper" / FILE_NAME
    yield Path("/etc/maxwhisper") / FILE_NAME


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
