"""A compiler that takes no time: stands in for MAX's, and counts how often it ran."""

import sys
from pathlib import Path

import pytest

from implementations.max_graph import compiler_process

COUNTED = """
import pathlib, sys, time
with open({log!r}, "a") as log:
    log.write("compiled\\n")
time.sleep({seconds})
pathlib.Path(sys.argv[1]).write_bytes(b"graphs")
"""


class FakeCompiler:
    """Stands in for MAX's; counts how often it ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._log = folder / "compiler.log"
        self._monkeypatch = monkeypatch
        self.behave()

    def behave(self, program: str | None = None, seconds: float = 0) -> None:
        code = program or COUNTED.format(log=str(self._log), seconds=seconds)
        self._monkeypatch.setattr(
            compiler_process,
            "compiler_command",
            lambda _request, path: [sys.executable, "-c", code, str(path)],
        )

    @property
    def n_runs(self) -> int:
        return len(self._log.read_text().splitlines()) if self._log.exists() else 0
