"""Ctrl-C outside of the work: ends the program at once, with a line and the exit code 130.

Imported before everything else, so that it imports nothing that Python has not loaded at its start
(`signal` makes enumerations first).
"""

import _signal  # type: ignore[import-not-found]  # the built-in half of `signal`
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C has ended, as shells count it: 128 + SIGINT."""


def stop_at_once() -> None:
    """Makes Ctrl-C end the program, unless the caller ignores or handles it."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _stop)


def raise_interrupts() -> bool:
    """Makes Ctrl-C a KeyboardInterrupt again; returns False if `stop_at_once` did nothing."""
    if _signal.getsignal(_signal.SIGINT) is not _stop:
        return False
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    return True


def _stop(_number: int, _frame: "FrameType | None") -> None:
    """Ends at once: before the work begins and after it, there is nothing to put in order."""
    try:  # noqa: SIM105  (contextlib is not loaded yet)
        os.write(2, b"error: stopped\n")
    except OSError:
        pass
    os._exit(INTERRUPTED)
