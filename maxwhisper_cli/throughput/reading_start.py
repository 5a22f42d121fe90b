"""Start of the processes that read the first files of a run; imports little, to come first.

Comes in: paths of recordings, in order. Goes out: processes, each with the paths that it reads, in
order; `reading_processes.py` takes what they have read.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from weights.helper_process import helper_environment, module_command

MIN_THREADS: Final = 4
"""Threads that may run at a time, below which a process more would take one from the model."""
MIN_BYTES: Final = 2**20
"""Bytes of all files below which they are read sooner than a process has started."""
MAX_PROCESSES: Final = 12
MAX_FILES: Final = 256


@dataclass(frozen=True, slots=True)
class Started:
    """A process and the files that it reads."""

    paths: Sequence[str]
    process: "subprocess.Popen[bytes] | None"
    """None if it could not be started."""


def start_reading(
    paths: Sequence[str], reading: Mapping[str, object], n_threads: int
) -> list[Started]:
    """Starts processes if they pay.

    Args:
        paths: Files in order; those that may stall are left alone.
        reading: Keywords of `open_audio`.
        n_threads: Threads that may run at a time.
    """
    if n_threads < MIN_THREADS or reading.get("raw") is not None:
        return []
    from maxwhisper_cli.throughput.read_ahead import may_stall

    chosen = [path for path in dict.fromkeys(paths) if not may_stall(path)][:MAX_FILES]
    if sum(map(_size, chosen)) < MIN_BYTES:
        return []
    n_processes = min(n_threads - 1, len(chosen), MAX_PROCESSES)
    n_inside = max(1, (n_threads - 1) // n_processes)
    return [_start(chosen[number::n_processes], reading, n_inside) for number in range(n_processes)]


def _start(paths: Sequence[str], reading: Mapping[str, object], n_threads: int) -> Started:
    request = json.dumps({"paths": paths, "reading": reading, "n_threads": n_threads})
    try:
        process = subprocess.Popen(
            module_command("maxwhisper_cli.throughput.reading_process", request),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=helper_environment(),
        )
    except OSError:  # no more processes, no memory
        return Started(paths, None)
    return Started(paths, process)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)  # noqa: PTH202  (a path as text)
    except (OSError, ValueError):
        return 0
