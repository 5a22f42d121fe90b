"""Ctrl-C in a long run: the first finishes what is under way, the second stops."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopping:
    """Reasons to end a run before all is done."""

    def __init__(self) -> None:
        self.is_interrupted = False
        """True once the user has pressed Ctrl-C."""
        self.has_failed = False
        """True once a file has failed in a run that ends then."""

    def keep_going(self) -> bool:
        """Returns True while another file may begin."""
        return not (self.is_interrupted or self.has_failed)


@contextmanager
def finishing_on_interrupt(
    stopping: Stopping, on_first: Callable[[], None] | None = None
) -> Iterator[None]:
    """Makes the first Ctrl-C set `stopping`, and the second a KeyboardInterrupt.

    It changes nothing outside of the main thread, or where Ctrl-C is ignored or handled by others.

    Args:
        stopping: Is set.
        on_first: Called at the first Ctrl-C, in a thread of its own, if there is anything to say.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stopping.is_interrupted = True
        # This may have come in the middle of a write; in the same thread another one would fail.
        if on_first is not None:
            threading.Thread(target=on_first).start()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
