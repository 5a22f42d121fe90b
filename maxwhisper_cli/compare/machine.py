"""Facts that measurements depend on: processor, GPU, memory, versions, and load."""

import importlib.metadata
import os
import platform
import resource
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from implementations import nvml
from implementations.devices import processor_name

_KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine at the beginning of a comparison."""

    cpu: str
    n_cpus: int
    """Processors that this process may use."""
    memory_mib: float
    gpus: tuple[str, ...]
    """Name, memory in MiB and driver of each NVIDIA GPU: `NVIDIA L4, 23034, 580.65.06`."""
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
        cpu=processor_name(),
        n_cpus=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory_mib=page_bytes / 2**20,
        gpus=tuple(_gpus()),
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
    used = [
        (gpu.memory_bytes - gpu.free_bytes) / 2**20
        for gpu in nvml.read_nvml().gpus
        if gpu.memory_bytes is not None and gpu.free_bytes is not None
    ]
    return sum(used) if used else None


def own_gpu_memory_mib(in_use_before: float | None) -> float | None:
    """Returns the memory of this process on NVIDIA GPUs, outside its libraries' allocators too.

    Allocators do not release their peak. If the driver does not list this process, as in a
    container, the result is the growth of all processes since `in_use_before`.
    """
    own = nvml.own_memory_bytes(os.getpid())
    if own is not None:
        return own / 2**20
    in_use = gpu_memory_in_use_mib()
    return None if in_use is None or in_use_before is None else in_use - in_use_before


def _gpus() -> Iterator[str]:
    report = nvml.read_nvml()
    for gpu in report.gpus:
        if gpu.error is None:
            yield f"{gpu.name}, {(gpu.memory_bytes or 0) / 2**20:.0f}, {report.driver}"


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
