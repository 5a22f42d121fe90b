"""Compiled graphs on disk: found by everything that decides them, made once, checked when read.

A compiled file `<key>.mef` lies beside `<key>.json`, which says what it is, its key and its sha256;
a file without such a record, or that differs from it, is not trusted but made again. Nothing here
runs a graph.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

from implementations.base import HOST
from implementations.errors import ImplementationFailedError, NotKeptWarning
from implementations.max_graph.compile import CompileRequest
from implementations.max_graph.cpu.cpu_level import NATIVE
from weights.cache import cache_root

Notify = Callable[[str], None]

_CPU_FIELDS = (
    "vendor_id",
    "cpu family",
    "model",
    "flags",
    "CPU implementer",
    "CPU part",
    "Features",
)


def compiled_folder() -> Path:
    """Where compiled graphs are kept: `compiled` in the cache folder."""
    return cache_root() / "compiled"


def compiled_graphs(request: CompileRequest, notify: Notify | None) -> bytes:
    """The compiled file for a request, from the cache folder or compiled now.

    Where it cannot be kept there, one `NotKeptWarning` says so.

    Args:
        request: What is wanted.
        notify: Told in words for the user what takes time, and that it has ended.

    Raises:
        ImplementationFailedError: the compiler failed; the message has its last line.
    """
    tell = notify or (lambda _words: None)
    path = compiled_folder() / f"{artifact_key(request)}.mef"
    found = _read(path)
    if found is not None:
        return found
    try:
        lock = _acquire_lock(path, tell)
    except OSError as error:
        _warn_unkept(path, error)
        return _compile(request, tell, "in every run")
    with lock:
        found = _read(path)  # another process may have made it meanwhile
        if found is None:
            found = _compile(request, tell, f"once; kept in {path.parent}")
            try:
                _keep(path, found, request)
            except OSError as error:
                _warn_unkept(path, error)
        return found


def is_kept(request: CompileRequest) -> bool:
    """Whether the compiled file for a request is in the cache folder."""
    return _read(compiled_folder() / f"{artifact_key(request)}.mef") is not None


def artifact_key(request: CompileRequest) -> str:
    """A name for what is compiled: differs wherever request, code or MAX do.

    What is for a GPU or for a level of CPUs may be compiled on another machine; what is for this
    very CPU has its kind in the name.
    """
    code = _code_version("cpu" if request.target == HOST else "gpu")
    parts = [request.to_json(), code, max_version(), platform.machine()]
    if request.target == HOST and request.cpu_level == NATIVE:
        parts.append(_cpu_kind())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def max_version() -> str:
    """The version of MAX, by the name of its installation's record.

    `importlib.metadata` would tell as well, and takes 30 ms of every start.
    """
    spec = find_spec("max")
    folders = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        for record in Path(folder).parent.glob("max-*.dist-info"):
            return record.name.removeprefix("max-").removesuffix(".dist-info")
    import importlib.metadata

    return importlib.metadata.version("max")


def _code_version(own_folder: str) -> str:
    """A hash over the sources that CPU and GPU share, and those of the folder that is one's own."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    own = folder / own_folder
    for path in sorted((*folder.glob("*.py"), *own.rglob("*.py"), *own.rglob("*.mojo"))):
        name = path.relative_to(folder).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _cpu_kind() -> str:
    """What the kernel says of the first processor's make and features."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    return "\n".join(fields.get(name, "") for name in _CPU_FIELDS)


def _read(path: Path) -> bytes | None:
    """A compiled file as its record describes it; None where either is missing or they differ."""
    try:
        data = path.read_bytes()
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        is_own = record["key"] == path.stem
        is_whole = record["sha256"] == hashlib.sha256(data).hexdigest()
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return data if is_own and is_whole else None


def _acquire_lock(path: Path, tell: Notify) -> AbstractContextManager[object]:
    """Hold the compiled file's lock, saying so where another process holds it first."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        tell("waiting for another process, which compiles the same graphs")
        return lock.acquire()


def _compile(request: CompileRequest, tell: Notify, how_often: str) -> bytes:
    """Compile in a process of its own, which ends with this one."""
    n_graphs = len(request.graphs)
    tell(
        f"compiling {n_graphs} MAX graphs together ({', '.join(request.graphs)}): "
        f"up to a minute or two, {how_often}"
    )
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="maxwhisper-") as folder:
            data = _run_compiler(request, Path(folder) / "graphs.mef")
    except OSError as error:
        raise ImplementationFailedError(
            f"the graphs cannot be compiled: {error.strerror or error}; "
            "the compiler needs some MB in the folder for temporary files (TMPDIR)"
        ) from error
    tell(f"compiled in {time.monotonic() - began:.0f} s")
    return data


def _run_compiler(request: CompileRequest, path: Path) -> bytes:
    """What the compiler writes to the path."""
    done = subprocess.run(
        compiler_command(request, path),
        env=os.environ | {"PYTHONPATH": _python_path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0 or not path.is_file():
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ImplementationFailedError(
            f"MAX {max_version()} could not compile the graphs (exit {done.returncode}): "
            f"{said[-1] if said else 'it did not say why'}"
        )
    return path.read_bytes()


def compiler_command(request: CompileRequest, path: Path) -> list[str]:
    """The command that compiles a request to a file."""
    module = "implementations.max_graph.compile"
    return [sys.executable, "-m", module, request.to_json(), str(path)]


def _python_path() -> str:
    """Lets the compiler's process find this project however this process found it."""
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))


def _keep(path: Path, data: bytes, request: CompileRequest) -> None:
    """Put a compiled file and its record in place, each at once, the record last."""
    path.parent.mkdir(parents=True, exist_ok=True)  # `maxwhisper cache clear` may have passed by
    for left_by_a_killed_process in path.parent.glob(f"{path.stem}.*.tmp"):
        left_by_a_killed_process.unlink(missing_ok=True)
    record = {
        "key": path.stem,
        "sha256": hashlib.sha256(data).hexdigest(),
        "max": max_version(),
        "request": json.loads(request.to_json()),
    }
    _write(path, data)
    _write(path.with_suffix(".json"), f"{json.dumps(record, indent=2)}\n".encode())


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _warn_unkept(path: Path, error: OSError) -> None:
    warnings.warn(
        f"compiled graphs cannot be kept in {path.parent} ({error.strerror or error}), so every "
        "run compiles them again; set MAXWHISPER_CACHE to a folder that can be written",
        NotKeptWarning,
        stacklevel=3,
    )
