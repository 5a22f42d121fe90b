"""Ownership of the files in the cache folder: maxwhisper's, or somebody else's.

A file is ours by its name and, where the project knows what it must hold, by its sha256. Symbolic
links are never ours.
"""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weights.cache import cache_root, sha256_of
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from implementations.max_graph.artifacts import StoredArtifact

CONFIRMED = "confirmed"
"""Folder of the results of checks of compiled graphs."""
COMPILED = "compiled"
FETCHED = ("models", "samples", "checked", "written", "completion", "inputs")

_MADE = re.compile(r"[0-9a-f]{32}\.(mef|json|lock|part|\d+\.tmp)|tmp[a-z0-9_]{8}")
_UNFINISHED = (".part", ".lock")

Known = Mapping[Path, Set[str]]
"""Paths with the sha256 that each may have; none if it may have any."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The files in some folders of the cache folder."""

    own: tuple[Path, ...]
    """Files of this program."""
    others: tuple[Path, ...]


def contents_of(folders: tuple[str, ...]) -> Contents:
    """Sorts the files of these folders of the cache folder."""
    known: Known = _known_files() if "models" in folders else {}
    own: list[Path] = []
    others: list[Path] = []
    for folder in folders:  # records come last, since sorting makes some
        for path in files_in(cache_root() / folder):
            (own if _is_own(path, known) else others).append(path)
    return Contents(tuple(own), tuple(others))


def files_in(folder: Path) -> list[Path]:
    """Returns all files of a folder and those below it, links included."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def describe_compiled(stored: "StoredArtifact") -> str:
    """Names the implementation, sizes and types of a compiled file; `damaged` without a record."""
    from implementations.max_graph.request import HOST

    request = stored.request
    if request is None:
        return "damaged"
    dims, matrices = request.dims, request.matrices
    parts = {"encoder": request.has_encoder, "decoder": request.has_decoder}
    name = " and ".join(part for part, is_there in parts.items() if is_there)
    layers = f"{dims.n_audio_layer}+{dims.n_text_layer} layers of {dims.n_audio_state}"
    types = "+".join(dict.fromkeys((matrices.encoder, matrices.decoder)))
    gpu = f" for cuda:{request.gpu}" if request.gpu else ""
    target = [] if request.target == HOST else [f"{request.target}{gpu}"]
    return ", ".join([f"{name} {layers}", types, *target, f"MAX {stored.max_version}"])


def _is_own(path: Path, known: Known) -> bool:
    if path.is_symlink():
        return False
    if path.parent.parent == cache_root() and path.parent.name not in {"models", "samples"}:
        return _MADE.fullmatch(path.name) is not None
    if path not in known:
        return False
    expected = known[path]
    try:
        return not expected or sha256_of(path) in expected
    except MaxWhisperError:  # it cannot be read
        return False


def _known_files() -> Known:
    """Returns all files that are fetched or made, and what a cut leaves of them."""
    known: dict[Path, set[str]] = {cache_root() / "samples" / ".lock": set()}
    for path, sha256 in (*_models(), *_networks(), *_samples()):
        known.setdefault(path, set()).update({sha256} if sha256 else ())
        for suffix in _UNFINISHED:
            known.setdefault(path.with_name(f"{path.name}{suffix}"), set())
        known.setdefault(path.with_suffix(".words"), set())
    return known


def _models() -> Iterator[tuple[Path, str | None]]:
    from weights.models import NAMED_MODELS
    from weights.packages import PACKAGED_MODELS, joined_path

    folder = cache_root() / "models"
    for model in NAMED_MODELS.values():
        yield folder / f"{model.name}.pt", model.sha256
    for name, sources in PACKAGED_MODELS.items():
        for packaged in sources:
            yield joined_path(name, folder), packaged.sha256
            yield folder / f"{name}.pt", packaged.sha256


def _networks() -> Iterator[tuple[Path, str | None]]:
    from maxwhisper_cli.speech.network_file import FILE_NAME, PACKAGE, SHA256

    folder = cache_root() / "models"
    yield folder / FILE_NAME, SHA256
    yield folder / PACKAGE.file, PACKAGE.sha256


def _samples() -> Iterator[tuple[Path, str | None]]:
    from maxwhisper_cli.samples import load_manifest, samples_folder

    for sample in load_manifest():
        path = samples_folder() / sample.file
        yield path, sample.source.sha256 if sample.source else None
        yield path.with_suffix(".txt"), None
        if sample.source:
            yield samples_folder() / sample.source.archive.file, sample.source.archive.sha256
