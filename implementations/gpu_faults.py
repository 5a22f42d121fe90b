"""Explains why there is no GPU, or not that one: what, where, what to do, in a line each."""

import os
import platform
from pathlib import Path

from implementations import cuda_driver, nvml
from implementations.cuda_driver import CudaView
from implementations.nvml import NvmlGpu, NvmlReport

VISIBLE = "CUDA_VISIBLE_DEVICES"
KERNEL_DRIVER = Path("/proc/driver/nvidia/version")
"""File of the driver in the kernel, which containers see whatever devices they have."""
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that Docker and Podman put into their containers."""

_CONTAINER = "start the container with the GPUs (docker run --gpus all)"
_CUDA_FAULTS = {
    cuda_driver.SYSTEM_NOT_READY: "the GPUs are not ready: the fabric manager of this machine's"
    " NVSwitches does not run; start the service nvidia-fabricmanager, of the driver's version",
    cuda_driver.VERSION_MISMATCH: "the NVIDIA driver in the kernel and its libraries are of"
    " different versions, as after an update; restart the machine",
    cuda_driver.COMPATIBILITY_REFUSED: "a CUDA compatibility package is in use, which this GPU"
    " does not support; remove cuda-compat from LD_LIBRARY_PATH or from the container",
}
_NVML_FAULTS = {
    nvml.VERSION_MISMATCH: _CUDA_FAULTS[cuda_driver.VERSION_MISMATCH],
    nvml.NO_PERMISSION: "this user may not use the NVIDIA driver; see the rights of /dev/nvidia*",
}
_GPU_FAULTS = {
    nvml.GPU_IS_LOST: "has fallen off the bus; restart the machine, and see its temperature,"
    " power supply and seat (Xid 79 in dmesg)",
    nvml.RESET_REQUIRED: "needs a reset: nvidia-smi --gpu-reset, or restart the machine",
}


def no_gpu_because(view: CudaView) -> str:
    """Returns the reason why CUDA has no GPU for this process."""
    if view.status is None:
        return _no_library()
    report = nvml.read_nvml()
    reasons = (
        _CUDA_FAULTS.get(view.status),
        _NVML_FAULTS.get(report.error or 0),
        _not_loaded_because(report),
        _hidden_because(report),
        *map(fault_of, report.gpus),
        *map(_no_slice_because, report.gpus),
        _none_found_because(view),
    )
    answers = f"the NVIDIA driver does not answer (CUDA error {view.status}); see nvidia-smi"
    return next(filter(None, reasons), answers)


def missing_gpu_because(index: int, view: CudaView) -> str:
    """Returns the reason why there is no `cuda:N` beside those that CUDA has."""
    if not view.gpus:
        return no_gpu_because(view)
    n_gpus, last = len(view.gpus), f"cuda:{len(view.gpus) - 1}"
    reason = f"there is no cuda:{index}; "
    reason += "the only GPU is cuda:0" if n_gpus == 1 else f"the last of {n_gpus} GPUs is {last}"
    report = nvml.read_nvml()
    failed = [fault_of(gpu) for gpu in report.gpus if gpu.error is not None]
    if failed:
        return f"{reason}; {failed[0]}"
    if any(gpu.is_slice for gpu in view.gpus):
        return f"{reason}, a MIG slice: CUDA gives a process one slice"
    hides_some = visible_devices() is not None and n_gpus < len(report.gpus)
    if hides_some:
        return f"{reason}, since {VISIBLE}={visible_devices()} hides others of the machine"
    return reason


def fault_of(gpu: NvmlGpu) -> str | None:
    """Returns what has happened to a GPU that does not answer; None if it answers."""
    if gpu.error is None:
        return None
    what = _GPU_FAULTS.get(gpu.error, f"does not answer (NVML error {gpu.error}); see nvidia-smi")
    return f"GPU {gpu.index} of this machine {what}"


def unused_because(gpu: NvmlGpu) -> str:
    """Returns the reason why a GPU that answers is none of this process."""
    if (no_slice := _no_slice_because(gpu)) is not None:
        return no_slice
    if (value := visible_devices()) is not None:
        return f"hidden by {VISIBLE}={value}"
    if gpu.slices:
        return "its slices are not used: CUDA gives a process one slice"
    return "CUDA does not list it; see nvidia-smi"


def driver_name(view: CudaView) -> str:
    """Returns the driver with its version for messages, or what is known of it."""
    version = nvml.read_nvml().driver
    return f"NVIDIA driver {version}" if version else f"the NVIDIA driver (CUDA {view.version})"


def how_to_update() -> str:
    """Returns how the driver is updated on this system."""
    return "update it in Windows, not in WSL" if is_wsl() else "update it"


def is_wsl() -> bool:
    """Returns True in Windows' subsystem for Linux, whose kernel has a name of its own."""
    return "microsoft" in platform.release().lower()


def is_container() -> bool:
    """Returns True in a container of Docker, Podman or Kubernetes."""
    return any(path.exists() for path in CONTAINER_MARKS) or "KUBERNETES_SERVICE_HOST" in os.environ


def visible_devices() -> str | None:
    """Returns the variable that hides GPUs from CUDA; None if it is not set."""
    return os.environ.get(VISIBLE)


def _no_library() -> str:
    library = cuda_driver.LIBRARY
    if is_wsl():
        return (
            f"no NVIDIA driver ({library}) in WSL; install the driver in Windows, nothing in WSL,"
            " then run wsl --shutdown"
        )
    if KERNEL_DRIVER.exists():
        return f"this machine has an NVIDIA driver, whose library {library} is not here; " + (
            _CONTAINER if is_container() else "install the driver's libraries of its version"
        )
    return f"no NVIDIA driver ({library}) on this machine"


def _not_loaded_because(report: NvmlReport) -> str | None:
    if report.error != nvml.DRIVER_NOT_LOADED:
        return None
    if is_container():
        return f"no NVIDIA driver reaches this container; {_CONTAINER}"
    return (
        "the NVIDIA driver is installed and not loaded; try modprobe nvidia, or install the driver"
        f" for this kernel ({platform.release()}) again"
    )


def _none_found_because(view: CudaView) -> str | None:
    if view.status not in {0, cuda_driver.NO_DEVICE}:
        return None
    return f"the NVIDIA driver finds no GPU; {_CONTAINER if is_container() else 'see nvidia-smi'}"


def _hidden_because(report: NvmlReport) -> str | None:
    """Returns the reason where CUDA_VISIBLE_DEVICES names no GPU; None if it is not the cause."""
    value = visible_devices()
    if value is None:
        return None
    first = value.partition(",")[0].strip()
    known = [name for gpu in report.gpus if gpu.error is None for name in _names(gpu)]
    if first in known or any(name.startswith(first) for name in known if len(first) > 4):
        return None
    there_are = f" ({', '.join(_described(gpu) for gpu in report.gpus)})" if report.gpus else ""
    if first in {"", "-1", "NoDevFiles"}:
        return f"{VISIBLE}={value} hides all GPUs{there_are}; unset it, or name one"
    return (
        f"{VISIBLE}={value} begins with none of this machine's GPUs{there_are}; unset it, or"
        " name one by its number or UUID"
    )


def _names(gpu: NvmlGpu) -> list[str]:
    """Returns the names by which CUDA_VISIBLE_DEVICES may mean a GPU or its slices."""
    slices = [part.uuid for part in gpu.slices]
    slices += [f"{gpu.index}:{n}" for n in range(len(gpu.slices))]
    return [str(gpu.index), gpu.uuid, *slices]


def _described(gpu: NvmlGpu) -> str:
    slices = "".join(f", slice {part.uuid}" for part in gpu.slices)
    return f"{gpu.index}: {gpu.name}, {gpu.uuid}{slices}"


def _no_slice_because(gpu: NvmlGpu) -> str | None:
    if not gpu.has_mig_mode or gpu.slices:
        return None
    return (
        f"GPU {gpu.index} ({gpu.name}) is in MIG mode and has no slice; make one with"
        " nvidia-smi mig -cgi and -cci, or end the mode with nvidia-smi -mig 0"
    )
