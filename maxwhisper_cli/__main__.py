"""Entry point of the command line: `maxwhisper`, or `python -m maxwhisper_cli`.

Ctrl-C is handled before most imports.
"""

import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

_NEW_OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""Threshold of the garbage collector; Python's 700 collects hundreds of times during imports."""
_INTERRUPTED = 130


def main() -> None:
    """Runs the command line and exits with its code."""
    is_stoppable = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_stoppable:
        signal.signal(signal.SIGINT, _stop)
    gc.set_threshold(_NEW_OBJECTS_BETWEEN_COLLECTIONS)
    from maxwhisper_cli.standard_streams import guard_standard_streams

    guard_standard_streams()
    from maxwhisper_cli.app import make_app

    app = make_app()
    if is_stoppable:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="maxwhisper")
    finally:
        if is_stoppable:
            signal.signal(signal.SIGINT, _stop)
        gc.freeze()  # the end of the process then collects no garbage


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Ends at once: before the work begins and after it, there is nothing to put in order."""
    with suppress(OSError):
        os.write(2, b"error: stopped\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    # `python -m` would import whatever lies in the current folder.
    if not sys.flags.safe_path and sys.path[0] != str(Path(__file__).resolve().parents[1]):
        del sys.path[0]
    main()
