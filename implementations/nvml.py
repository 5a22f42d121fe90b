"""NVIDIA's management library: all GPUs of a machine, their state, and who uses their memory.

NVML sees what CUDA hides: GPUs outside CUDA_VISIBLE_DEVICES, those without a MIG slice, those that
have failed, and why the driver does not answer. It needs no context and no framework. Where a
machine has no NVML (Jetson), `read_nvml` says so, and CUDA's own view remains.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 18
"""Errors that have a remedy of their own (source: nvml.h, nvmlReturn_t)."""


@dataclass(frozen=True, slots=True)
class NvmlGpu:
    """A GPU of the machine; facts that the driver does not give are empty or None."""

    index: int
    """Index in the order of the bus, which is not always CUDA's."""
    name: str = "a GPU"
    uuid: str = ""
    major: int = 0
    minor: int = 0
    memory_bytes: int | None = None
    free_bytes: int | None = None
    """None on GPUs that share the host's memory."""
    has_mig_mode: bool = False
    """True if it can be used by its slices alone."""
    slices: tuple["NvmlSlice", ...] = ()
    error: int | None = None
    """NVML's error for this GPU; None if it answers."""

    @property
    def architecture(self) -> str:
        """Architecture, such as `sm_89`; empty if it is unknown."""
        return f"sm_{self.major}{self.minor}{'a' * (self.major >= 9)}" if self.major else ""


@dataclass(frozen=True, slots=True)
class NvmlSlice:
    """A MIG slice of a GPU."""

    uuid: str
    memory_bytes: int | None = None
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class NvmlReport:
    """All that NVML says at one moment."""

    error: int | None = None
    """NVML's error for all of it; None if it answers."""
    driver: str = ""
    """Version of the driver: `580.65.06`."""
    gpus: tuple[NvmlGpu, ...] = ()


def read_nvml() -> NvmlReport:
    """Asks NVML for the driver and for every GPU, in some milliseconds."""
    with _session() as (nvml, error):
        if error is not None:
            return NvmlReport(error)
        driver = _text(_ask(nvml, "nvmlSystemGetDriverVersion") or "")
        n_gpus = _ask(nvml, "nvmlDeviceGetCount") or 0
        return NvmlReport(None, driver, tuple(_gpu(nvml, index) for index in range(n_gpus)))


def own_memory_bytes(process_id: int) -> int | None:
    """Returns the GPU memory of a process on all GPUs; None if NVML does not list it."""
    with _session() as (nvml, error):
        if error is not None:
            return None
        own: list[int] = []
        for index in range(_ask(nvml, "nvmlDeviceGetCount") or 0):
            handle = _ask(nvml, "nvmlDeviceGetHandleByIndex", index)
            processes = _ask(nvml, "nvmlDeviceGetComputeRunningProcesses", handle) or ()
            own += [p.usedGpuMemory for p in processes if p.pid == process_id and p.usedGpuMemory]
        return sum(own) if own else None


@contextmanager
def _session() -> Iterator[tuple[Any, int | None]]:
    """Initialises NVML for a block; yields the library, and the error if it cannot be used."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield pynvml, int(error.value)
        return
    try:
        yield pynvml, None
    finally:
        _ask(pynvml, "nvmlShutdown")


def _ask(nvml: ModuleType, function: str, *arguments: Any) -> Any:  # noqa: ANN401
    """Returns what a function of NVML returns; None where the driver or the GPU has no answer."""
    try:
        return getattr(nvml, function)(*arguments)
    except nvml.NVMLError:
        return None


def _gpu(nvml: ModuleType, index: int) -> NvmlGpu:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = _memory(nvml, handle)
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    except nvml.NVMLError as error:
        return NvmlGpu(index, error=int(error.value))
    modes = _ask(nvml, "nvmlDeviceGetMigMode", handle)
    has_mig_mode = modes is not None and modes[0] == 1
    return NvmlGpu(
        index,
        _text(_ask(nvml, "nvmlDeviceGetName", handle) or "a GPU"),
        _text(_ask(nvml, "nvmlDeviceGetUUID", handle) or ""),
        int(major),
        int(minor),
        *memory,
        has_mig_mode=has_mig_mode,
        slices=tuple(_slices(nvml, handle)) if has_mig_mode else (),
    )


def _slices(nvml: ModuleType, handle: Any) -> Iterator[NvmlSlice]:  # noqa: ANN401
    for index in range(_ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        part = _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        if part is not None:
            uuid = _text(_ask(nvml, "nvmlDeviceGetUUID", part) or "")
            yield NvmlSlice(uuid, *_memory(nvml, part))


def _memory(nvml: ModuleType, handle: Any) -> tuple[int | None, int | None]:  # noqa: ANN401
    """Returns bytes in all and free bytes; None of a GPU that shares the host's memory.

    Raises:
        NVMLError: The GPU has failed.
    """
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError as error:
        if error.value in {GPU_IS_LOST, RESET_REQUIRED}:
            raise
        return None, None
    return int(memory.total), int(memory.free)


def _text(value: str | bytes) -> str:
    """Returns text that older bindings give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
