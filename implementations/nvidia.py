"""Queries of the NVIDIA driver, without importing a framework."""

import ctypes

KNOWN_ARCHITECTURES = ("sm_90a",)
"""Architectures that the kernels of the MAX graphs support: H100 and H200."""

_COMPUTE_CAPABILITY = (75, 76)
"""Driver attributes of a GPU's major and minor version."""


def no_gpu_because() -> str | None:
    """Returns the reason why no NVIDIA GPU can be used here; None if there is one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1) on this machine"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "the NVIDIA driver does not answer; see nvidia-smi"
    return None if count.value else "the NVIDIA driver finds no GPU"


def no_max_gpu_because(device: str = "cuda") -> str | None:
    """Returns the reason why the MAX graphs cannot use a GPU here; None if they can."""
    if (reason := no_gpu_because()) is not None:
        return reason
    found = architecture(device)
    if found in KNOWN_ARCHITECTURES:
        return None
    return f"the MAX graphs are written for H100 and H200, and {device} is another GPU ({found})"


def no_torch_gpu_because(device: str = "cuda") -> str | None:
    """Returns the reason why torch cannot use a GPU here, by its version and the driver.

    torch is not imported for it.
    """
    import importlib.metadata

    del device  # torch runs on every GPU that the driver has
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:  # copied rather than installed
        version = ""
    if version.endswith("+cpu"):
        return f"torch {version} is built without CUDA; install a CUDA build of torch"
    return no_gpu_because()


def gpu_index(device: str) -> int | None:
    """Returns N for `cuda:N`, 0 for `cuda`, None for any other name."""
    kind, _, index = device.partition(":")
    index = index or "0"
    return int(index) if kind == "cuda" and index.isdecimal() else None


def architecture(device: str) -> str | None:
    """Returns the architecture of `cuda` or `cuda:N`, such as `sm_90a`; None if it is unknown.

    From 9.0 on the letter `a` selects features that only this architecture has.
    """
    index = gpu_index(device)
    if index is None or no_gpu_because() is not None:
        return None
    driver = ctypes.CDLL("libcuda.so.1")
    gpu, version = ctypes.c_int(), (ctypes.c_int(), ctypes.c_int())
    if driver.cuDeviceGet(ctypes.byref(gpu), index) != 0:
        return None
    for part, attribute in zip(version, _COMPUTE_CAPABILITY, strict=True):
        if driver.cuDeviceGetAttribute(ctypes.byref(part), attribute, gpu) != 0:
            return None
    major, minor = (part.value for part in version)
    return f"sm_{major}{minor}{'a' * (major >= 9)}"
