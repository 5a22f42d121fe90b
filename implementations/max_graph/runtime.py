"""Settings of MAX's runtime in a process that is not its own, made before its first work."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_TIMERSLACK = 29
_SLACK_NANOSECONDS = 50_000_000

_SETTINGS = {
    "MODULAR_DEVICE_CONTEXT_MEMORY_MANAGER_VMM": "0",
    "MODULAR_DEVICE_CONTEXT_MEMORY_MANAGER_CHUNK_PERCENT": "5",
    "MODULAR_DEVICE_CONTEXT_HOST_MEMORY_MANAGER_SIZE": str(64 * 2**20),
}


def share_gpu_memory() -> None:
    """Lets MAX take memory for a GPU piece by piece, unless the environment says otherwise.

    By itself, MAX 26.7 takes nine tenths of it once the first graph is recorded, which leaves
    little to PyTorch in the same process (`hybrid`) and to others that use the GPU. Page-locked
    memory of the host is taken as one piece too, which takes 0.8 s where 3 ms are enough for what
    is needed (H200, 2026-11).
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


@contextmanager
def coarse_timers() -> Iterator[None]:
    """Gives threads that start meanwhile a timer slack of 50 ms.

    A process's first execution of a graph starts a thread in MAX 26.7 that looks for log lines
    every tenth of a millisecond, for good: a tenth of a core, and every time it takes one from a
    worker the others wait for it (encoder and decoder steps of tiny.en on two cores take a quarter
    longer). A new thread inherits the timer slack of the one that starts it (prctl(2), Linux).
    """
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(_SLACK_NANOSECONDS), 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(0), 0, 0, 0)  # back to the thread's own
