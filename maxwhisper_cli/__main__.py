"""Starts the command line: `maxwhisper`, or `python -m maxwhisper_cli`."""

import gc
import io
import sys

from maxwhisper_cli.app import make_app

_NEW_OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""Python's 700 would have it look for garbage hundreds of times while libraries are imported."""


def main() -> None:
    """Runs the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows another in its place; nothing stops for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    gc.set_threshold(_NEW_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        make_app()(prog_name="maxwhisper")
    finally:
        gc.freeze()  # the end of the process then looks for no garbage


if __name__ == "__main__":
    main()
