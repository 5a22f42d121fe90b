"""Compiled graphs on disk: found by everything that decides them, made once, checked when read.

A compiled file `<key>.mef` lies beside `<key>.json`, its record: request, key and sha256. A file
without such a record, or that differs from it, is not trusted but made again. Nothing here runs a
graph.
"""

import errno
import hashlib
import json
import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Lock

import weights.dims
from implementations.errors import ImplementationFailedError
from implementations.max_graph.compiler_process import Notify, max_version, run_compiler
from implementations.max_graph.request import HOST, NATIVE, CompileRequest
from implementations.options import LoadReport
from implementations.processor_threads import available_threads
from weights.cache import cache_root, unsafe_because

_CPU_FIELDS = (
    *("vendor_id", "cpu family", "model", "flags"),
    *("CPU implementer", "CPU part", "Features"),
)
_LOCK_SECONDS = 0.5
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled file, read or just made."""

    data: bytes
    compiled_seconds: float = 0.0
    """Time that compiling took, waiting for another process included."""
    notes: tuple[str, ...] = ()
    """Lines for the user, such as that it could not be stored."""


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A compiled file in the cache folder, by its record."""

    path: Path
    request: CompileRequest | None
    """None where the file is damaged: its record is missing, or differs from it."""
    max_version: str = ""


def compiled_folder() -> Path:
    """Returns the folder of compiled graphs: `compiled` in the cache folder."""
    return cache_root() / "compiled"


def all_compiled_graphs(
    requests: Sequence[CompileRequest], notify: Notify | None, *, must_store: bool = False
) -> list[Artifact]:
    """Returns the compiled files for requests, in their order; compiles missing ones together.

    There are as many compilers at a time as threads can run. When one fails, or this process is
    interrupted, the others are stopped. Arguments and errors as `compiled_graphs`.
    """
    if len(requests) == 1:
        return [compiled_graphs(requests[0], notify, must_store=must_store)]
    stop, one_at_a_time = Event(), Lock()

    def tell(line: str) -> None:
        with one_at_a_time:
            (notify or str)(line)

    with ThreadPoolExecutor(min(len(requests), available_threads())) as pool:
        one = partial(compiled_graphs, notify=tell, must_store=must_store, stop=stop)
        running = [pool.submit(one, request) for request in requests]
        try:
            for ended in wait(running, return_when=FIRST_EXCEPTION).done:
                ended.result()  # raises what stopped the wait
            return [future.result() for future in running]
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def compiled_graphs(
    request: CompileRequest,
    notify: Notify | None,
    *,
    must_store: bool = False,
    stop: Event | None = None,
) -> Artifact:
    """Returns the compiled file for a request, from the cache folder or compiled now.

    Args:
        request: The graphs that are wanted.
        notify: Called with a line for the user as something that takes time begins or has ended.
        must_store: True where compiling without storing would be in vain.
        stop: Ends compiling and waiting when it is set, by another thread.

    Raises:
        ImplementationFailedError: the compiler failed, and the message has its last line; or the
            file must be stored and cannot be.
    """
    notify, stop = notify or (lambda _line: None), stop or Event()
    path = _path(request)
    data = _read(path)
    if data is not None:
        return Artifact(data)
    began = time.monotonic()
    try:
        _check_safe(path.parent)
        lock = _acquire_lock(path, notify, stop)
    except OSError as error:
        note = _not_stored(path, error, must_store=must_store)
        data = run_compiler(request, notify, "in every run", stop)
        return Artifact(data, time.monotonic() - began, (note,))
    notes: tuple[str, ...] = ()
    with lock:
        data = _read(path)  # another process may have made it meanwhile
        if data is None:
            data = run_compiler(request, notify, f"once; kept in {path.parent}", stop)
            try:
                _store(path, data, request)
            except OSError as error:
                notes = (_not_stored(path, error, must_store=must_store),)
    return Artifact(data, time.monotonic() - began, notes)


def load_report(artifacts: Sequence[Artifact]) -> LoadReport:
    """Returns the report of artifacts that were compiled at the same time."""
    notes = dict.fromkeys(note for artifact in artifacts for note in artifact.notes)
    compiled_seconds = max(artifact.compiled_seconds for artifact in artifacts)
    return LoadReport(compiled_seconds, notes=tuple(notes))


def is_stored(request: CompileRequest) -> bool:
    """Returns True where the compiled file for a request is in the cache folder."""
    return _read(_path(request)) is not None


def stored_artifacts() -> list[StoredArtifact]:
    """Returns all compiled files in the cache folder, damaged ones included."""
    return [_stored(path) for path in sorted(compiled_folder().glob("*.mef"))]


def artifact_key(request: CompileRequest) -> str:
    """Returns a name for a compiled file: it differs wherever request, sources or MAX do.

    Graphs for a GPU or for a level of CPUs may be compiled on another machine; the name of graphs
    for this very CPU holds the kind of CPU.
    """
    try:
        versions = [_source_hash(request.target), max_version()]
    except OSError as error:
        raise ImplementationFailedError(
            f"the installation cannot be read ({error.strerror or error}): install it again"
        ) from error
    parts = [request.to_json(), *versions, platform.machine()]
    if request.target == HOST and request.cpu_target == NATIVE:
        parts.append(_cpu_kind())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def sources(target: str) -> list[Path]:
    """Returns the files that decide what is compiled for a target, beside the request.

    They are the compiling program, the graph builders that devices share, and the device's own
    graph builders and kernels; a test holds this list to what compiling imports.
    """
    folder = Path(__file__).parent
    device = folder / ("cpu" if target == HOST else "gpu")
    shared = (folder / "compile.py", folder / "request.py", Path(str(weights.dims.__file__)))
    builders = (*(folder / "graphs").glob("*.py"), *(device / "graphs").glob("*.py"))
    return [*shared, *sorted(builders), *sorted((device / "kernels").glob("*.mojo"))]


def _source_hash(target: str) -> str:
    digest = hashlib.sha256()
    for path in sources(target):
        digest.update(f"{path.parent.name}/{path.name}".encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _cpu_kind() -> str:
    """Returns the make and features of the first processor, as the kernel lists them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    return "\n".join(fields.get(name, "") for name in _CPU_FIELDS)


def _path(request: CompileRequest) -> Path:
    return compiled_folder() / f"{artifact_key(request)}.mef"


def _check_safe(path: Path) -> None:
    """Checks that nobody else could write a file or a folder of code that is to be run.

    Raises:
        PermissionError: It is somebody else's, or others may write there.
    """
    if (reason := unsafe_because(path)) is not None:
        raise PermissionError(errno.EPERM, f"not safe: {reason}")


def _read(path: Path) -> bytes | None:
    """Returns a compiled file as its record describes it; None if it is missing or not safe."""
    try:
        _check_safe(path.parent)
        _check_safe(path)
        data = path.read_bytes()
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        is_own = record["key"] == path.stem
        is_whole = record["sha256"] == hashlib.sha256(data).hexdigest()
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return data if is_own and is_whole else None


def _stored(path: Path) -> StoredArtifact:
    if _read(path) is None:
        return StoredArtifact(path, None)
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        request = CompileRequest.from_json(json.dumps(record["request"]))
        return StoredArtifact(path, request, str(record["max"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return StoredArtifact(path, None)


def _acquire_lock(path: Path, notify: Notify, stop: Event) -> AbstractContextManager[object]:
    """Acquires the compiled file's lock, with a line where another process holds it first."""
    from filelock import FileLock, Timeout

    _make_folder(path.parent)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        notify("waiting for another process, which compiles the same graphs")
    while not stop.is_set():
        with suppress(Timeout):
            return lock.acquire(timeout=_LOCK_SECONDS)
    raise ImplementationFailedError("stopped while another process compiled the same graphs")


def _store(path: Path, data: bytes, request: CompileRequest) -> None:
    """Puts a compiled file and its record in place, each at once, the record last."""
    _make_folder(path.parent)  # `maxwhisper cache clear` may have passed by
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


def _make_folder(folder: Path) -> None:
    """Makes the folder of compiled graphs; nobody else may write there, whatever the umask is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(data)
        unfinished.chmod(_FILE_MODE)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _not_stored(path: Path, error: OSError, *, must_store: bool) -> str:
    note = (
        f"compiled graphs cannot be kept in {path.parent} ({error.strerror or error}), so every "
        "run compiles them again; set MAXWHISPER_CACHE to a folder that can be written"
    )
    if must_store:
        raise ImplementationFailedError(note) from error
    return note
