"""Facts about the program and the machine: versions, processor, memory, GPUs."""

import importlib.metadata
import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from implementations.errors import ImplementationUnavailableError
from implementations.processor_threads import available_threads
from maxwhisper_cli.doctor.report import Fact
from maxwhisper_cli.version import program_version

_PACKAGES = (
    *("max", "torch", "openai-whisper", "numpy", "av", "soundfile", "soxr", "tiktoken"),
    *("safetensors", "httpx2", "typer", "rich"),
)
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_NO_LIMIT_BYTES = 2**60


def program_facts() -> list[Fact]:
    """Returns versions of the program, of Python, and of the packages that compute."""
    is_own = "in a virtual environment" if sys.prefix != sys.base_prefix else "of the system"
    python = f"{platform.python_implementation()} {platform.python_version()} {is_own}"
    versions = ", ".join(f"{name} {version}" for name, version in _versions())
    return [
        Fact("maxwhisper", f"{program_version()}, in {Path(__file__).parents[2]}"),
        Fact("python", f"{python}, {sys.executable}"),
        Fact("packages", versions),
    ]


def system_facts() -> list[Fact]:
    """Returns the system, its processors as far as this process may use them, and its memory."""
    libc = " ".join(platform.libc_ver()).strip()
    system = f"{_distribution()}, {platform.system()} {platform.release()} {platform.machine()}"
    return [
        Fact("system", f"{system}{f', {libc}' if libc else ''}"),
        Fact("processor", _processor()),
        Fact("level", _level()),
        Fact("processors", _processors()),
        Fact("memory", _memory()),
    ]


def gpu_facts() -> list[Fact]:
    """Returns each GPU with what MAX and PyTorch make of it, or the reason why there is none."""
    from implementations.devices import device_states
    from implementations.nvml import read_nvml

    report = read_nvml()
    facts = [Fact("driver", report.driver)] if report.driver else []
    sliced = [gpu for gpu in report.gpus if gpu.has_mig_mode]
    facts += [Fact("MIG", f"{gpu.name}, {len(gpu.slices)} slices") for gpu in sliced]
    for state in device_states()[1:]:
        size = "" if state.memory_bytes is None else f", {state.memory_bytes / 2**30:.1f} GiB"
        size += "" if state.free_bytes is None else f", {state.free_bytes / 2**30:.1f} free"
        name = ", ".join(filter(None, (state.name, state.architecture))) + size
        same = state.max_graphs == state.torch
        runs = state.torch if same else f"MAX graphs: {state.max_graphs}; PyTorch: {state.torch}"
        facts.append(Fact(state.device or "not used", f"{name}; {runs}"))
    return facts


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "not installed"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return platform.system()


def _processor() -> str:
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _level() -> str:
    from implementations.max_graph.cpu.cpu_level import cpu_level

    try:
        return cpu_level()
    except ImplementationUnavailableError as error:
        return f"none: {error}"


def _processors() -> str:
    n_all = os.cpu_count() or 1
    n_allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else n_all
    n_used = available_threads()
    quota = f", a cgroup allows {n_used}" if n_used < n_allowed else ""
    return f"{n_all} in the machine, this process may use {n_allowed}{quota}"


def _memory() -> str:
    fields = dict(line.split(":", 1) for line in _read(Path("/proc/meminfo")).splitlines())
    parts = []
    for label, name in (("", "MemTotal"), (" available", "MemAvailable")):
        kib = fields.get(name, "").split()[:1]
        if kib and kib[0].isdecimal():
            parts.append(f"{int(kib[0]) * 1024 / 1e9:.1f} GB{label}")
    limits = [int(text) for path in _CGROUP_LIMITS if (text := _read(path).strip()).isdecimal()]
    parts += [f"a cgroup allows {n / 1e9:.1f} GB" for n in limits if n < _NO_LIMIT_BYTES]
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space != resource.RLIM_INFINITY:
        parts.append(f"ulimit -v allows {address_space / 1e9:.1f} GB")
    return ", ".join(parts) or "not known"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
