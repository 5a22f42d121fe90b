"""What a measurement hangs on: processor, GPU, memory, versions, and what else the machine does."""

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
    """The machine at the beginning of a comparison."""

    cpu: str
    n_cpus: int
    """Processors that this process may use."""
    memory_mib: float
    gpus: tuple[str, ...]
    """Name, memory and driver of each NVIDIA GPU, as `nvidia-smi` tells."""
    system: str
    python: str
    load_average: float
    """Of the last minute, before anything was run."""
    packages: dict[str, str]
    """Version of every installed package."""

    @property
    def is_busy(self) -> bool:
        """Whether other work takes so much that times mean little."""
        return self.load_average > self.n_cpus / 2


def describe_machine() -> Machine:
    """Looks around; takes well under a second."""
    page_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = importlib.metadata.distributions()
    return Machine(
        cpu=_cpu_name(),
        n_cpus=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory_mib=page_bytes / 2**20,
        gpus=tuple(_nvidia_smi("name,memory.total,driver_version")),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        load_average=os.getloadavg()[0],
        packages=dict(sorted(_named_versions(found))),
    )


def _named_versions(
    found: Iterable[importlib.metadata.Distribution],
) -> Iterator[tuple[str, str]]:
    """Names and version of those that tell both; a damaged installation does not."""
    for distribution in found:
        metadata = distribution.metadata
        if metadata is not None and metadata["Name"] and metadata["Version"]:
            yield metadata["Name"].lower(), metadata["Version"]


def peak_memory_mib() -> float:
    """Returns the most memory that this process has had at once.

    Linux tells it of the program that runs now; `getrusage` would begin with the parent's peak.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / _KIB_PER_MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else _KIB_PER_MIB)


def gpu_memory_in_use_mib() -> float | None:
    """Memory in use on all NVIDIA GPUs, by every process; None where there is none that tells."""
    used = [number for line in _nvidia_smi("memory.used") if (number := _mib(line)) is not None]
    return sum(used) if used else None


def own_gpu_memory_mib(in_use_before: float | None) -> float | None:
    """Memory that this process holds on NVIDIA GPUs, outside its libraries' allocators too.

    Allocators keep what they had at the peak. Where the driver does not know this process by its
    number, as in a container, it is what all processes together have taken since before.
    """
    apps = (line.partition(",") for line in _nvidia_smi("pid,used_memory", of="compute-apps"))
    own = [_mib(mib) for pid, _, mib in apps if pid.strip() == str(os.getpid())]
    known = [mib for mib in own if mib is not None]
    if known:
        return sum(known)
    in_use = gpu_memory_in_use_mib()
    return None if in_use is None or in_use_before is None else in_use - in_use_before


def _mib(text: str) -> float | None:
    """Returns a number of nvidia-smi's; None for `[N/A]`."""
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


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
