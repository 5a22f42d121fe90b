"""Python processes of our own: they import what this process would, wherever they are started.

Neither the current folder nor `PYTHONPATH` decides what a helper imports. It is given the folders
of this process, whether the project is installed, linked to or found through `PYTHONPATH`. Run as
a program, this file puts them in place and runs a module.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

_FILE = Path(__file__).resolve()
_PROJECT = str(_FILE.parents[1])


def module_command(module: str, *arguments: str) -> list[str]:
    """Returns the command that runs a module as a program in a process of its own."""
    return [sys.executable, "-P", str(_FILE), json.dumps(import_folders()), module, *arguments]


def run_module(
    module: str, *arguments: str, timeout: float | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a module as a program in a process of its own, without input, and captures its output.

    Args:
        module: The module.
        arguments: Its arguments.
        timeout: Seconds after which it is stopped; None waits for its end.

    Raises:
        OSError: It cannot be started.
        subprocess.TimeoutExpired: It took longer.
    """
    import subprocess

    return subprocess.run(
        module_command(module, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=helper_environment(),
        timeout=timeout,
        check=False,
    )


def helper_environment(**more: str) -> dict[str, str]:
    """Returns this process's environment without what would change a helper's imports.

    Args:
        more: Further variables.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "PYTHONSAFEPATH": "1", **more}


def import_folders() -> list[str]:
    """Returns the folders that this process imports from, without the current one.

    The folder of the project stays even where it is the current one, and goes first where it is
    none of them.
    """
    here = _current_folder()
    folders = [
        entry
        for entry in dict.fromkeys(sys.path)
        if Path(entry).is_absolute() and (_real(entry) != here or _real(entry) == _PROJECT)
    ]
    return folders if _PROJECT in map(_real, folders) else [_PROJECT, *folders]


def _current_folder() -> str | None:
    try:
        return os.path.realpath(os.getcwd())  # noqa: PTH109  (a path as text, as in `sys.path`)
    except OSError:  # it was removed
        return None


def _real(folder: str) -> str:
    return os.path.realpath(folder)


def _run(folders: list[str], module: str) -> None:
    """Runs a module with these folders, then those that Python finds by itself."""
    import runpy

    sys.path[:] = dict.fromkeys([*folders, *sys.path])
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run(json.loads(sys.argv[1]), sys.argv[2])
