"""Entry point of the command line: `maxwhisper`, or `python -m maxwhisper_cli`.

Ctrl-C is handled before most imports.
"""

import gc
import os
import sys

_NEW_OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""Threshold of the garbage collector; Python's 700 collects hundreds of times during imports."""


def main() -> None:
    """Runs the command line and exits with its code; answers a shell that completes it."""
    if "_MAXWHISPER_COMPLETE" in os.environ:
        from maxwhisper_cli.completion.answer import main as complete

        complete()
        return
    from maxwhisper_cli.stopping import stop_at_once

    stop_at_once()
    _leave_current_folder()
    gc.set_threshold(_NEW_OBJECTS_BETWEEN_COLLECTIONS)
    from maxwhisper_cli.standard_streams import guard_standard_streams

    guard_standard_streams()
    from maxwhisper_cli.app import make_app

    app = make_app()
    try:
        app(prog_name="maxwhisper")
    finally:
        gc.freeze()  # the end of the process then collects no garbage


def _leave_current_folder() -> None:
    """Imports nothing from folders that `PYTHONPATH` names as seen from the current one.

    An empty entry, as in `PYTHONPATH=:/opt/lib`, is the current folder itself.
    """
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
    for entry in filter(None, [os.environ.get("PYTHONPATH")]):
        for folder in entry.split(os.pathsep):
            try:
                path = os.path.abspath(folder)  # noqa: PTH100  (pathlib is slow to load)
            except OSError:  # the current folder was removed
                return
            if path != folder and os.path.realpath(path) != root:
                sys.path[:] = [each for each in sys.path if each not in {path, folder}]


if __name__ == "__main__":
    # `python -m` would import whatever lies in the current folder, a pathlib.py as well.
    _here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
    _root = os.path.dirname(_here)  # noqa: PTH120
    if not sys.flags.safe_path and sys.path[0] != _root:
        del sys.path[0]
    main()
