"""CUDA's own view of the GPUs, by the driver's library; explains nothing, imports no framework.

The driver is asked in a process of its own: one that has initialised CUDA cannot use it in a fork.
Run as a program, this module asks and prints what it was told. A program that forks no users of a
GPU may ask in itself, and make the GPU's context while it imports what will use it: `begin`.

CUDA numbers the GPUs of a process: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER decide which there
are, and in which order. The driver reads both once, when it is first initialised.
"""

import atexit
import ctypes
import json
import os
import sys
import uuid
from dataclasses import asdict, dataclass
from functools import cache
from threading import Event, Thread
from typing import Any

from weights.helper_process import run_module
from weights.whole_number import whole_number

LIBRARY = "libcuda.so.1"
_PATIENCE_SECONDS = 60
"""Longest time to wait for the driver."""
_END_SECONDS = 5
"""Longest time to wait for it at the end of the process."""

NO_DEVICE = 100
UNKNOWN = 999
SYSTEM_NOT_READY = 802
VERSION_MISMATCH = 803
COMPATIBILITY_REFUSED = 804
"""Results of cuInit that have a remedy of their own (source: cuda.h, CUresult)."""

_MAJOR, _MINOR = 75, 76
"""Attributes of a GPU's compute capability (source: cuda.h, CUdevice_attribute)."""


@dataclass(frozen=True, slots=True)
class CudaGpu:
    """A GPU, or a slice of one, that this process may use as `cuda:N`."""

    index: int
    name: str
    """Name that the driver gives it; a slice's ends in its profile, `MIG 1g.10gb`."""
    major: int
    minor: int
    uuid: str
    """`GPU-...`, or `MIG-...` of a slice, as NVML writes it."""
    memory_bytes: int

    @property
    def is_slice(self) -> bool:
        """True for a MIG slice of a GPU."""
        return " MIG " in self.name

    @property
    def architecture(self) -> str:
        """Architecture, such as `sm_90a`.

        From 9.0 on the letter `a` selects features that only this architecture has.
        """
        return f"sm_{self.major}{self.minor}{'a' * (self.major >= 9)}"


@dataclass(frozen=True, slots=True)
class CudaView:
    """Result of asking the driver."""

    status: int | None
    """Result of cuInit, 0 for success; None where there is no library."""
    version: int = 0
    """CUDA version that the driver supports: 13000 for 13.0, that is driver 580."""
    gpus: tuple[CudaGpu, ...] = ()


def gpu_index(device: str) -> int | None:
    """Returns N for `cuda:N`, 0 for `cuda`, None for any other name."""
    kind, _, index = device.partition(":")
    return whole_number(index or "0") if kind == "cuda" else None


class _Beginning:
    """The driver's answer in this process, and the context of one of its GPUs."""

    def __init__(self, index: int) -> None:
        self.is_answered = Event()
        self.view = CudaView(UNKNOWN)
        self._index = index
        self._thread = Thread(target=self._run, name="cuda", daemon=True)

    def start(self) -> None:
        """Starts the thread; the process ends after it."""
        self._thread.start()
        atexit.register(self._thread.join, _END_SECONDS)

    def _run(self) -> None:
        try:
            self.view = _read()
        finally:
            self.is_answered.set()
        if self._index < len(self.view.gpus):
            _keep_context(self._index)


_begun: list[_Beginning] = []
"""The thread of `begin`, at most one."""


def begin(device: str) -> None:
    """Asks the driver in a thread of this process, and makes the context of `cuda` or `cuda:N`.

    Frameworks share that context, so that they find it made (0.3 s on an H200, 2026-11). No fork of
    this process can use a GPU afterwards.
    """
    index = gpu_index(device)
    if index is not None and not _begun and has_library():
        _begun.append(_Beginning(index))
        _begun[0].start()


def read_cuda() -> CudaView:
    """Returns what the driver says of this process's GPUs; it is asked once."""
    if not has_library():
        return CudaView(None)
    if _begun:
        _begun[0].is_answered.wait(_PATIENCE_SECONDS)
        return _begun[0].view
    return _ask(os.environ.get("CUDA_VISIBLE_DEVICES"))


def has_library() -> bool:
    """Returns True where the driver's library is; the driver is not asked."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


@cache
def _ask(_visible: str | None) -> CudaView:
    """Returns the view of a process that was asked; its status is `UNKNOWN` if it ended early."""
    import subprocess

    try:
        done = run_module("implementations.cuda_driver", timeout=_PATIENCE_SECONDS)
        done.check_returncode()
        view = json.loads(done.stdout)
        return CudaView(**view | {"gpus": tuple(CudaGpu(**gpu) for gpu in view["gpus"])})
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, KeyError):
        return CudaView(UNKNOWN)


def _read() -> CudaView:
    """Asks the driver; initialises it, and creates no context."""
    driver = ctypes.CDLL(LIBRARY)
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    status = int(driver.cuInit(0))
    if status == 0:
        status = int(driver.cuDeviceGetCount(ctypes.byref(count)))
    if status != 0:
        return CudaView(status, version.value)
    gpus = tuple(_gpu(driver, index) for index in range(count.value))
    return CudaView(0, version.value, gpus)


def _keep_context(index: int) -> None:
    """Makes the context that frameworks in this process share, for as long as it runs."""
    driver = ctypes.CDLL(LIBRARY)
    gpu, context = ctypes.c_int(), ctypes.c_void_p()
    retain = getattr(driver, "cuDevicePrimaryCtxRetain", None)
    if retain is not None and driver.cuDeviceGet(ctypes.byref(gpu), index) == 0:
        retain(ctypes.byref(context), gpu)


def _gpu(driver: Any, index: int) -> CudaGpu:  # noqa: ANN401  (functions of a C library)
    gpu = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(gpu), index)
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, len(name), gpu)
    memory = ctypes.c_size_t()
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), gpu)
    text = name.value.decode(errors="replace")
    return CudaGpu(
        index,
        text,
        _attribute(driver, gpu, _MAJOR),
        _attribute(driver, gpu, _MINOR),
        _uuid(driver, gpu, "MIG" if " MIG " in text else "GPU"),
        memory.value,
    )


def _attribute(driver: Any, gpu: ctypes.c_int, attribute: int) -> int:  # noqa: ANN401
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, gpu)
    return value.value


def _uuid(driver: Any, gpu: ctypes.c_int, kind: str) -> str:  # noqa: ANN401
    """Returns the name that CUDA_VISIBLE_DEVICES accepts; empty where the driver has none."""
    function = getattr(driver, "cuDeviceGetUuid_v2", None) or driver.cuDeviceGetUuid
    value = (ctypes.c_ubyte * 16)()
    if function(ctypes.byref(value), gpu) != 0:
        return ""
    return f"{kind}-{uuid.UUID(bytes=bytes(value))}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_read())))
