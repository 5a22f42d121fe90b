"""Decides which NVIDIA GPUs an implementation may use, and why not; imports no framework.

CUDA's own view decides, since frameworks see no other; NVML gives the reasons and the names.
"""

from implementations import cuda_driver, gpu_faults, gpu_targets
from implementations.cuda_driver import CudaGpu, CudaView, gpu_index
from implementations.torch_build import torch_build

KNOWN_ARCHITECTURES = gpu_targets.ARCHITECTURES
"""Architectures that the kernels of the MAX graphs are compiled for."""
CONFIRMED_GPUS = ("NVIDIA H100 80GB HBM3", "NVIDIA H200")
"""Names of the GPUs on which all tests of the MAX graphs were run."""

_MIN_MAX_CUDA, _MIN_MAX_DRIVER = 13000, "580"
"""Oldest driver for MAX: by the CUDA version that it supports, and by its own."""
_OLDEST_MAJOR, _OLDEST_FAMILY = 8, "Ampere (2020)"
"""Oldest GPUs that have the instructions of the kernels: asynchronous copies, mma.sync."""
_OLDEST_FOR_CUDA_13 = (7, 5)
"""Oldest compute capability that PyTorch's builds for CUDA 13 serve: Turing."""


def no_gpu_because() -> str | None:
    """Returns the reason why no NVIDIA GPU can be used here; None if there is one."""
    view = cuda_driver.read_cuda()
    return None if view.gpus else gpu_faults.no_gpu_because(view)


def no_max_gpu_because(device: str = "cuda") -> str | None:
    """Returns the reason why the MAX graphs cannot use a GPU here; None if they can."""
    if (reason := no_gpu_because()) is not None:
        return reason
    view = cuda_driver.read_cuda()
    gpu, reason = _find(device, view)
    if gpu is None:
        return reason
    if view.version < _MIN_MAX_CUDA:
        return (
            f"{gpu_faults.driver_name(view)} is too old for MAX, which needs {_MIN_MAX_DRIVER} or"
            f" newer; {gpu_faults.how_to_update()}, or use --impl cuda"
        )
    if target_architecture(gpu) is not None:
        return None
    if gpu.major < _OLDEST_MAJOR:
        why = f"is older than the MAX graphs are written for, {_OLDEST_FAMILY} and newer"
    else:
        why = f"is none of those that the MAX graphs are compiled for: {architectures()}"
    return f"{named(gpu)} {why}; use --impl cuda or --device cpu"


def no_torch_gpu_because(device: str = "cuda") -> str | None:
    """Returns the reason why torch cannot use a GPU here, by its build and the driver.

    torch is not imported for it.
    """
    build = torch_build()
    if build is not None and build.cuda is None:
        return f"torch {build.version} is built without CUDA; install a CUDA build of torch"
    if (reason := no_gpu_because()) is not None:
        return reason
    view = cuda_driver.read_cuda()
    gpu, reason = _find(device, view)
    if gpu is None or build is None or build.cuda is None:
        return reason
    if view.version and view.version // 1000 < build.cuda[0]:
        major, minor = build.cuda
        return (
            f"torch {build.version} is built for CUDA {major}.{minor}, and"
            f" {gpu_faults.driver_name(view)} has CUDA {_dotted(view.version)};"
            f" {gpu_faults.how_to_update()}, or install torch for CUDA {view.version // 1000}"
        )
    if build.cuda[0] >= 13 and (gpu.major, gpu.minor) < _OLDEST_FOR_CUDA_13:
        return (
            f"{named(gpu)} is older than torch {build.version} supports; "
            "install torch for CUDA 12.6, or use --device cpu"
        )
    return None


def gpus() -> tuple[CudaGpu, ...]:
    """Returns the GPUs of this process, in CUDA's order."""
    return cuda_driver.read_cuda().gpus


def find_gpu(device: str) -> CudaGpu | None:
    """Returns the GPU called `cuda` or `cuda:N`; None if there is none."""
    return _find(device, cuda_driver.read_cuda())[0]


def architecture(device: str) -> str | None:
    """Returns the architecture that graphs are compiled for on `cuda` or `cuda:N`.

    It is the GPU's own, such as `sm_90a`, if no code is compiled for it; None if it is unknown.
    """
    if no_gpu_because() is not None or (gpu := find_gpu(device)) is None:
        return None
    return target_architecture(gpu) or gpu.architecture


def target_architecture(gpu: CudaGpu) -> str | None:
    """Returns the architecture whose compiled code runs on a GPU; None if there is no such code."""
    return gpu_targets.compiled_architecture(gpu.architecture)


def is_confirmed(gpu: CudaGpu) -> bool:
    """Returns True for a GPU of a kind on which all tests were run; slices are of another kind."""
    return gpu.name in CONFIRMED_GPUS


def named(gpu: CudaGpu) -> str:
    """Returns a GPU's name for messages: `NVIDIA L4 (cuda:0, sm_89)`."""
    return f"{gpu.name} (cuda:{gpu.index}, {gpu.architecture})"


def architectures() -> str:
    """Returns the architectures that code is compiled for, in words."""
    return ", ".join(KNOWN_ARCHITECTURES)


def _find(device: str, view: CudaView) -> tuple[CudaGpu | None, str | None]:
    """Returns the GPU of that name, or the reason why there is none."""
    index = gpu_index(device)
    if index is None:
        return None, f"{device} is no NVIDIA GPU; use cuda or cuda:N"
    if index < len(view.gpus):
        return view.gpus[index], None
    return None, gpu_faults.missing_gpu_because(index, view)


def _dotted(version: int) -> str:
    """Returns CUDA's number of a version as people write it: 12040 is 12.4."""
    return f"{version // 1000}.{version % 1000 // 10}"
