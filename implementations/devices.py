"""Devices of this machine, and what the MAX graphs and PyTorch make of each; imports neither."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from implementations import gpu_faults, nvidia, nvml
from implementations.cuda_driver import CudaGpu
from implementations.max_graph.cpu.cpu_level import no_level_because
from implementations.nvml import NvmlGpu, NvmlReport, NvmlSlice

TESTED = "tested"
"""State of a device on which all tests of the MAX graphs were run."""
UNCONFIRMED = "compiled for, not yet confirmed"
"""State of a device that code is compiled for, and that never ran it: its first use is checked."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device, and what runs there."""

    device: str | None
    """`cpu`, `cuda:N`; None for a GPU that this process cannot use."""
    name: str
    architecture: str
    memory_bytes: int | None
    free_bytes: int | None
    max_graphs: str
    """`TESTED`, `UNCONFIRMED`, or the reason why the MAX graphs do not run there."""
    torch: str
    """`TESTED`, `yes`, or the reason why PyTorch does not run there."""

    @property
    def runs_max(self) -> bool:
        """True if the MAX graphs run there."""
        return self.max_graphs in {TESTED, UNCONFIRMED}

    @property
    def runs_torch(self) -> bool:
        """True if PyTorch runs there."""
        return self.torch in {TESTED, "yes"}


def device_states() -> tuple[DeviceState, ...]:
    """Returns the processor, the GPUs of this process, and the machine's others with the reason."""
    report, reason = nvml.read_nvml(), nvidia.no_gpu_because()
    gpus = nvidia.gpus() if reason is None else ()
    used = {gpu.uuid for gpu in gpus}
    others = [gpu for gpu in report.gpus if used.isdisjoint(_uuids(gpu))]
    if reason is not None and not others:
        others = [NvmlGpu(0, "NVIDIA GPU")]
    states = (_state_of(gpu, report) for gpu in gpus)
    return (_processor(), *states, *(_state_of_other(gpu, reason) for gpu in others))


def _processor() -> DeviceState:
    is_tested = (platform.system(), platform.machine()) == ("Linux", "x86_64")
    return DeviceState(
        "cpu",
        processor_name(),
        platform.machine(),
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        None,
        no_level_because() or TESTED,
        TESTED if is_tested else "yes",
    )


def processor_name() -> str:
    """Returns the processor's name, as far as the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = text.splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _state_of(gpu: CudaGpu, report: NvmlReport) -> DeviceState:
    device = f"cuda:{gpu.index}"
    is_confirmed = nvidia.is_confirmed(gpu)
    same = [part for each in report.gpus for part in _parts(each) if part.uuid == gpu.uuid]
    return DeviceState(
        device,
        gpu.name,
        gpu.architecture,
        gpu.memory_bytes,
        same[0].free_bytes if same else None,
        nvidia.no_max_gpu_because(device) or (TESTED if is_confirmed else UNCONFIRMED),
        nvidia.no_torch_gpu_because(device) or (TESTED if is_confirmed else "yes"),
    )


def _state_of_other(gpu: NvmlGpu, why_none: str | None) -> DeviceState:
    reason = gpu_faults.fault_of(gpu) or why_none or gpu_faults.unused_because(gpu)
    facts = gpu.architecture, gpu.memory_bytes, gpu.free_bytes
    return DeviceState(None, gpu.name, *facts, reason, reason)


def _parts(gpu: NvmlGpu) -> tuple[NvmlGpu | NvmlSlice, ...]:
    return (gpu, *gpu.slices)


def _uuids(gpu: NvmlGpu) -> set[str]:
    return {part.uuid for part in _parts(gpu)}
