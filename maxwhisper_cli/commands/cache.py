"""Command `maxwhisper cache`: lists the cache folder; `cache clear` empties it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from implementations.max_graph.artifacts import StoredArtifact, stored_artifacts
from implementations.max_graph.request import HOST
from maxwhisper_cli.console import Column, Terminal
from weights.cache import cache_root
from weights.errors import MaxWhisperError

_COLUMNS = (
    Column("what", is_name=True),
    Column("size", is_number=True),
    Column("file"),
)
_COMPILED = "compiled"
_FETCHED = ("models", "samples", "checked")


class CacheError(MaxWhisperError):
    """The cache folder cannot be emptied."""


def make_cache() -> typer.Typer:
    """Returns the commands under `maxwhisper cache`."""
    app = typer.Typer(invoke_without_command=True, help="Show or empty the cache folder.")
    app.callback()(_show)
    app.command("clear")(_clear)
    return app


def _show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what the cache folder holds: compiled graphs, fetched models and samples."""
    if context.invoked_subcommand is not None:
        return
    entries = [(what, _n_bytes(path), path) for what, path in _entries()]
    if as_json:
        listed = [{"what": w, "bytes": n, "path": str(p)} for w, n, p in entries]
        Terminal().document(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
        return
    terminal = Terminal()
    terminal.line(f"{cache_root()}: {_size(sum(n for _, n, _ in entries))}")
    if entries:
        terminal.table(_COLUMNS, ((w, _size(n), _short(p)) for w, n, p in entries))


def _clear(
    is_all: Annotated[bool, typer.Option("--all", help="Also fetched models and samples.")] = False,
) -> None:
    """Remove compiled graphs, which are made again when needed; with --all everything."""
    folders = [cache_root() / name for name in (_COMPILED, *(_FETCHED if is_all else ()))]
    n_bytes = sum(_n_bytes(path) for folder in folders for path in _files(folder))
    for folder in folders:
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise CacheError(
                f"{folder} cannot be removed: {error.strerror or error}; change its permissions"
            ) from error
    Terminal().line(f"removed {_size(n_bytes)} from {cache_root()}")


def _entries() -> Iterator[tuple[str, Path]]:
    """Yields description and path of each file to list."""
    for stored in stored_artifacts():
        yield _description(stored), stored.path
    for kind in _FETCHED[:2]:
        for path in _files(cache_root() / kind):
            if path.suffix not in {".lock", ".json", ".txt"} and _n_bytes(path):
                yield kind.removesuffix("s"), path


def _description(stored: StoredArtifact) -> str:
    """Names the implementation, sizes and types of a compiled file; `damaged` without a record."""
    request = stored.request
    if request is None:
        return "damaged"
    dims, matrices = request.dims, request.matrices
    name = "full-max" if request.has_decoder else "hybrid"
    layers = f"{dims.n_audio_layer}+{dims.n_text_layer} layers of {dims.n_audio_state}"
    types = "+".join(dict.fromkeys((matrices.encoder, matrices.decoder)))
    gpu = f" for cuda:{request.gpu}" if request.gpu else ""
    target = [] if request.target == HOST else [f"{request.target}{gpu}"]
    return ", ".join([f"{name} {layers}", types, *target, f"MAX {stored.max_version}"])


def _n_bytes(path: Path) -> int:
    """Returns a file's size; 0 if another process has just removed it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _short(path: Path) -> str:
    """Returns a file's name, shortened to a unique pattern for compiled ones."""
    return f"{path.stem[:8]}*" if path.suffix == ".mef" else path.name


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
