"""`maxwhisper cache`: what is kept in the cache folder, and `cache clear` to empty it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from maxwhisper_cli.console import Column, Terminal
from weights.cache import cache_root, hash_file
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
    """The commands under `maxwhisper cache`."""
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
    """Each file worth showing, with what it is."""
    for path in _files(cache_root() / _COMPILED):
        if path.suffix == ".mef":
            yield _compiled_as(path), path
    for kind in _FETCHED[:2]:
        for path in _files(cache_root() / kind):
            if path.suffix not in {".lock", ".json", ".txt"} and _n_bytes(path):
                yield kind.removesuffix("s"), path


def _compiled_as(path: Path) -> str:
    """What a compiled file is for, as the record beside it says; it is `damaged` if they differ."""
    try:
        record: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if record["key"] != path.stem or record["sha256"] != hash_file(path):
            return "damaged"
        request = record["request"]
        dims, target = request["dims"], request["target"]
        gpu = f" for cuda:{request['gpu']}" if request.get("gpu") else ""
        is_whole = "decoder" in request["graphs"]
        return (
            f"{'full-max' if is_whole else 'hybrid'} {dims['n_audio_layer']}+{dims['n_text_layer']}"
            f" layers of {dims['n_audio_state']}, {_types(request['matrices'])},"
            f"{'' if target == 'host' else f' {target}{gpu},'} MAX {record['max']}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"


def _types(matrices: dict[str, str]) -> str:
    """How matrices are kept: once where encoder and decoder agree."""
    return "+".join(dict.fromkeys((matrices["encoder"], matrices["decoder"])))


def _n_bytes(path: Path) -> int:
    """A file's size; 0 where another process has just removed it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _short(path: Path) -> str:
    """A file's name; of a compiled one, as much as a shell needs to find it."""
    return f"{path.stem[:8]}*" if path.suffix == ".mef" else path.name


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
