"""Facts that measurements depend on: processor, GPU, memory, versions, and load."""

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine at the beginning of a comparison."""

    cpu: str
    n_cpus: int
    """Processors that this process may use."""
    memory_mib: float
    gpus: tuple[str, ...]
    """Name, memory and driver of each NVIDIA GPU, as `nvidia-smi` prints them."""
    system: str
    python: str
    load_average: float
    """Load average of the last minute, before anything was run."""
    packages: dict[str, str]
    """Version of every installed package."""

    @property
    def is_busy(self) -> bool:
        """True if other processes use so much of the machine that times are unreliable."""
        return self.load_average > self.n_cpus / 2


def describe_machine() -> Machine:
    """Collects the facts, in well under a second."""
    page_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    distributions = importlib.metadata.distributions()
    return Machine(
        cpu=_cpu_name(),
        n_cpus=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory_mib=page_bytes / 2**20,
        gpus=tuple(_nvidia_smi("name,memory.total,driver_version")),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        load_average=_load_average(),
        packages=dict(sorted(_named_versions(distributions))),
    )


def _named_versions(
    distributions: Iterable[importlib.metadata.Distribution],
) -> Iterator[tuple[str, str]]:
    """Yields name and version of each distribution; damaged ones lack them and are skipped."""
    for distribution in distributions:
        metadata = distribution.metadata
        if metadata is not None and metadata["Name"] and metadata["Version"]:
            yield metadata["Name"].lower(), metadata["Version"]


def peak_memory_mib() -> float:
    """Returns the peak memory of this process.

    Linux has it for the current program; `getrusage` would include the parent's peak.
    """
    for line in _lines_of("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / _KIB_PER_MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else _KIB_PER_MIB)


def gpu_memory_in_use_mib() -> float | None:
    """Returns the memory in use on all NVIDIA GPUs, by every process; None if it is unknown."""
    used = [number for line in _nvidia_smi("memory.used") if (number := _mib(line)) is not None]
    return sum(used) if used else None


def own_gpu_memory_mib(in_use_before: float | None) -> float | None:
    """Returns the memory of this process on NVIDIA GPUs, outside its libraries' allocators too.

    Allocators do not release their peak. If the driver does not list this process, as in a
    container, the result is the growth of all processes since `in_use_before`.
    """
    apps = (line.partition(",") for line in _nvidia_smi("pid,used_memory", of="compute-apps"))
    own = [_mib(mib) for pid, _, mib in apps if pid.strip() == str(os.getpid())]
    known = [mib for mib in own if mib is not None]
    if known:
        return sum(known)
    in_use = gpu_memory_in_use_mib()
    return None if in_use is None or in_use_before is None else in_use - in_use_before


def _mib(text: str) -> float | None:
    """Parses a number of nvidia-smi; None for `[N/A]`."""
    try:
        return float(text)
    except ValueError:
        return None


def _nvidia_smi(query: str, *, of: str = "gpu") -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-{of}={query}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _lines_of(path: str) -> list[str]:
    """Returns the lines of a system's file; none where there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _load_average() -> float:
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0


def _cpu_name() -> str:
    lines = _lines_of("/proc/cpuinfo")
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
