"""MAX's runtime as a guest in a process: what must be set before it does its first work."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_TIMERSLACK = 29
_SLACK_NANOSECONDS = 50_000_000


@contextmanager
def coarse_timers() -> Iterator[None]:
    """Let threads that start meanwhile wake up by the clock every 50 ms, not thousands of times.

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
