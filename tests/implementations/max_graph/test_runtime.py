"""MAX's runtime as a guest in a process: its log thread sleeps, its GPU memory grows."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

PROGRAM = """
from pathlib import Path
import maxwhisper_cli

def slack(thread):
    return int(Path(f"/proc/{thread.name}/timerslack_ns").read_text())

own = Path("/proc/thread-self").resolve()
before = slack(own)
with maxwhisper_cli.load("tiny.en", "full-max"):
    slacks = [slack(thread) for thread in Path("/proc/self/task").iterdir()]
    print(slacks.count(50_000_000), slacks.count(before) == len(slacks) - 1, slack(own) == before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="timer slack is Linux's")
def test_one_thread_alone_gets_coarse_timers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "True", "True"]


def test_the_environment_may_say_how_gpu_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from implementations.max_graph.runtime import share_gpu_memory

    prefix = "MODULAR_DEVICE_CONTEXT_"
    environment = {f"{prefix}MEMORY_MANAGER_CHUNK_PERCENT": "50"}
    monkeypatch.setattr(os, "environ", environment)
    share_gpu_memory()
    assert environment == {
        f"{prefix}MEMORY_MANAGER_CHUNK_PERCENT": "50",
        f"{prefix}MEMORY_MANAGER_VMM": "0",
        f"{prefix}HOST_MEMORY_MANAGER_SIZE": "67108864",
    }
