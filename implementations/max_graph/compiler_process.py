"""Runs the compiler in a process of its own, which ends with this one or when it is stopped."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Event

from implementations.errors import ImplementationFailedError
from implementations.max_graph.request import CompileRequest
from weights.helper_process import helper_environment, module_command

Notify = Callable[[str], None]
"""Called with a line for the user as something that takes time begins or has ended."""

_POLL_SECONDS = 0.1
_PREFIX, _GRAPHS = "maxwhisper-", "graphs.mef"
_OLD_SECONDS = 24 * 3600.0


def max_version() -> str:
    """Returns the version of MAX, by the name of its installation's record.

    `importlib.metadata` tells it as well, and takes 30 ms of every start.
    """
    spec = find_spec("max")
    folders = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        for record in Path(folder).parent.glob("max-*.dist-info"):
            return record.name.removeprefix("max-").removesuffix(".dist-info")
    import importlib.metadata

    return importlib.metadata.version("max")


def compiler_command(request: CompileRequest, path: Path) -> list[str]:
    """Returns the command that compiles a request to a file, for as long as this process lives."""
    return module_command(
        "implementations.max_graph.start_compiler", str(os.getpid()), request.to_json(), str(path)
    )


def run_compiler(request: CompileRequest, notify: Notify, how_often: str, stop: Event) -> bytes:
    """Returns the compiled file for a request.

    Args:
        request: The graphs that are wanted.
        notify: Takes a line as compiling begins, and another as it has ended.
        how_often: End of the first line, such as `in every run`.
        stop: Ends the compiler when it is set.

    Raises:
        ImplementationFailedError: the compiler failed or was stopped, or found no room.
    """
    n_graphs = len(request.graphs)
    notify(
        f"compiling {n_graphs} MAX graphs together ({', '.join(request.graphs)}): "
        f"up to a minute or two, {how_often}"
    )
    began = time.monotonic()
    try:
        _remove_old_folders()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            data = _run(request, folder / _GRAPHS, stop)
        finally:  # `TemporaryDirectory` of Python 3.11 recurses where it may not remove one
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise ImplementationFailedError(
            f"the graphs cannot be compiled: {error.strerror or error}; "
            "the compiler needs some MB in the folder for temporary files (TMPDIR)"
        ) from error
    notify(f"compiled {n_graphs} MAX graphs in {time.monotonic() - began:.0f} s")
    return data


def _run(request: CompileRequest, path: Path, stop: Event) -> bytes:
    """Returns the file that the compiler writes to the path."""
    with (
        tempfile.TemporaryFile() as error_file,  # without a name, so that none is left behind
        subprocess.Popen(
            compiler_command(request, path),
            cwd=path.parent,  # MAX looks for packages of Mojo in the current folder too
            env=helper_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=error_file,
        ) as process,
    ):
        try:
            while process.poll() is None and not stop.is_set():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
        finally:
            process.kill()
            process.wait()
        error_file.seek(0)
        lines = error_file.read().decode(errors="replace").strip().splitlines()
    if process.returncode != 0 or not path.is_file():
        raise ImplementationFailedError(
            f"MAX {max_version()} could not compile the graphs (exit {process.returncode}): "
            f"{lines[-1] if lines else 'it did not say why'}"
        )
    return path.read_bytes()


def _remove_old_folders() -> None:
    """Removes what compilers left whose caller was killed just as they had ended."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            names = {each.name for each in folder.iterdir()}
            is_old = time.time() - folder.stat().st_mtime > _OLD_SECONDS
            if names == {_GRAPHS} and is_old:  # another user's cannot be removed
                shutil.rmtree(folder)
