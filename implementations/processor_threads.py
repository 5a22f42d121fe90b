"""Number of threads for this process, and the wait policy of OpenMP's threads.

Imports no framework: what is set here takes effect when PyTorch is imported after it.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_WAITING: Mapping[str, str] = MappingProxyType(
    {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
)
"""Wait policy of OpenMP's threads at the end of a parallel region: sleep."""
_OF_OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def available_threads() -> int:
    """Returns the number of threads that can run at a time, by affinity and cgroup."""
    if hasattr(os, "sched_getaffinity"):
        n_processors = len(os.sched_getaffinity(0))
    else:
        n_processors = os.cpu_count() or 1
    limits = [limit for limit in (_quota_v2(), _quota_v1()) if limit is not None]
    return max(1, min([n_processors, *(math.ceil(limit) for limit in limits)]))


def default_threads() -> int:
    """Returns the default number of threads: 0, the library's own, if that is right.

    Libraries know the affinity and the user's OMP_NUM_THREADS, but not the quota of a cgroup.
    """
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    is_limited = available_threads() < n_processors and "OMP_NUM_THREADS" not in os.environ
    return available_threads() if is_limited else 0


def let_threads_sleep() -> None:
    """Makes waiting OpenMP threads sleep, unless the environment sets their policy.

    By default they spin, in the belief that every thread has a core. Beside another job one of
    them has not, and the others burn what it waits for.
    """
    if not any(name in os.environ for name in _OF_OPENMP):
        os.environ.update(_WAITING)


def _quota_v2() -> float | None:
    """Returns the processors that the cgroups (version 2) above this process allow it."""
    quotas: list[float] = []
    for folder in _cgroup_folders():
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _cgroup_folders() -> list[Path]:
    """Returns the folder of this process's cgroup and those above it."""
    own = next((p for p in _read(_OWN_CGROUP).splitlines() if p.startswith("0::/")), "0::/")
    folder = _CGROUPS / own.removeprefix("0::/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(_CGROUPS))]


def _quota_v1() -> float | None:
    """Returns the processors that the cgroup (version 1) of a container allows it."""
    quota = _read(_CGROUPS / "cpu" / "cpu.cfs_quota_us")
    period = _read(_CGROUPS / "cpu" / "cpu.cfs_period_us")
    is_limited = quota.isdecimal() and period.isdecimal() and int(period) > 0
    return int(quota) / int(period) if is_limited else None


def _read(path: Path) -> str:
    """Returns the text of a small file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
