"""Command `maxwhisper cache`: lists the cache folder; `cache clear` empties it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from maxwhisper_cli.cache_contents import (
    COMPILED,
    CONFIRMED,
    FETCHED,
    contents_of,
    describe_compiled,
    files_in,
)
from maxwhisper_cli.console import Column, Terminal
from weights.cache import cache_root
from weights.errors import MaxWhisperError
from weights.printable import printable

_COLUMNS = (
    Column("what", is_name=True),
    Column("size", is_number=True),
    Column("file"),
)


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
    is_all: Annotated[
        bool, typer.Option("--all", help="Also fetched models and samples, and what is noted.")
    ] = False,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
) -> None:
    """Remove compiled graphs, which are made again when needed; with --all all that was fetched.

    What maxwhisper did not put there stays, and is listed. On a terminal it asks first.
    """
    terminal = Terminal()
    folders = (COMPILED, CONFIRMED, *(FETCHED if is_all else ()))
    contents = contents_of(folders)
    size = _size(sum(map(_n_bytes, contents.own)))
    if contents.own and not is_sure and terminal.can_ask:
        n_files = len(contents.own)
        what = f"{n_files} file{'s' * (n_files > 1)}, {size}"
        if not typer.confirm(f"remove {what}, from {printable(str(cache_root()))}?", err=True):
            raise CacheError("nothing was removed")
    for path in contents.own:
        _remove(path)
    for folder in folders:
        with suppress(OSError):  # what is not empty stays
            (cache_root() / folder).rmdir()
    terminal.line(f"removed {size} from {cache_root()}")
    for path in contents.others:
        terminal.note(f"left, since maxwhisper did not put it there: {path}")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(
            f"{path} cannot be removed: {error.strerror or error}; change its permissions"
        ) from error


def _entries() -> Iterator[tuple[str, Path]]:
    """Yields description and path of each file to list."""
    from implementations.max_graph.artifacts import stored_artifacts

    for stored in stored_artifacts():
        yield describe_compiled(stored), stored.path
    for kind in FETCHED[:2]:
        for path in files_in(cache_root() / kind):
            if path.suffix not in {".lock", ".json", ".txt"} and _n_bytes(path):
                yield kind.removesuffix("s"), path


def _n_bytes(path: Path) -> int:
    """Returns a file's size; 0 if another process has just removed it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _short(path: Path) -> str:
    """Returns a file's name, shortened to a unique pattern for compiled ones."""
    return f"{path.stem[:8]}*" if path.suffix == ".mef" else path.name


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.add_typer(make_cache(), name="cache")
