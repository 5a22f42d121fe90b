"""Memory of the machine that a further model may take."""

import sys
from pathlib import Path

from weights.models import NAMED_MODELS

_CGROUP = Path("/sys/fs/cgroup")
_PER_BYTE = 3
"""Bytes of memory for each byte of published weights (float16): float32, and room to load."""


def needed_bytes(source: str) -> int:
    """Returns the memory that a model takes at most, by its published size or that of its file."""
    model = NAMED_MODELS.get(source)
    if model is not None:
        return _PER_BYTE * model.n_bytes
    path = Path(source)
    try:
        files = [path] if path.is_file() else [each for each in path.iterdir() if each.is_file()]
        return _PER_BYTE * sum(each.stat().st_size for each in files)
    except OSError:
        return 0  # loading says what is wrong with it


def available_bytes() -> int:
    """Returns the memory that is free or can be freed, within the limit of a container."""
    free = _meminfo("MemAvailable")
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used)
    return free


def _meminfo(name: str) -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux: nothing is dropped before a model is loaded
        return sys.maxsize
    found = next((line for line in lines if line.startswith(f"{name}:")), None)
    return sys.maxsize if found is None else int(found.split()[1]) * 1024


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
