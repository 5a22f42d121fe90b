"""Processes that see a small or read-only disk at a folder, in a mount namespace of their own."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

_NAMESPACE = ("unshare", "--mount", "--map-root-user")


@cache
def _can_mount() -> bool:
    command = [*_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run_on_disk(
    folder: Path, options: str, script: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Runs a shell script with a disk in memory mounted at the folder.

    Args:
        folder: Where it is mounted, with the content that the script puts there.
        options: Of mount, such as `size=64k`.
        script: Lines of sh; `$python` is this Python, and `$@` are the arguments.
        arguments: Arguments of the script.
    """
    if not _can_mount():
        pytest.skip("this system lets no process mount a disk of its own (unshare --mount)")
    mounting = f'mount -t tmpfs -o {options} tmpfs "{folder}" || exit 99\n'
    lines = f'python="{sys.executable}"\n{mounting}{script}'
    command = [*_NAMESPACE, "sh", "-c", lines, "sh", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 99, done.stderr
    return done
