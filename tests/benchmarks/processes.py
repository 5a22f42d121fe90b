"""Run what is measured in processes of their own; nothing is computed from times here."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def script_command(script: str, *arguments: str) -> list[str]:
    """The command that runs a script of this folder."""
    return [sys.executable, str(HERE / script), *arguments]


def maxwhisper_command(*arguments: str) -> list[str]:
    """The program that a user types, installed beside the interpreter."""
    return [str(Path(sys.executable).parent / "maxwhisper"), *arguments]


def python(script: str, *arguments: str, changes: Mapping[str, str] | None = None) -> str:
    """Runs a script of this folder under a changed environment; returns what it prints."""
    return subprocess.run(
        script_command(script, *arguments),
        env=_environment(changes or {}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def wall_seconds(command: Sequence[str], changes: Mapping[str, str] | None = None) -> float:
    """From starting a program to its end, under a changed environment.

    Raises:
        SystemExit: it failed; the message ends with what it said.
    """
    environment = _environment(changes or {})
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return seconds


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's, changed; Python keeps what it compiles, as installed programs find it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment
