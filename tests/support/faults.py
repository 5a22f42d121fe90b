"""System calls of this project, separated from all others, counted and made to fail."""

import builtins
import copy
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / name}{os.sep}" for name in ("maxwhisper_cli", "implementations", "weights"))
STANDARD_LIBRARY = f"{Path(os.__file__).parent}{os.sep}"
CALLS: tuple[tuple[Any, str], ...] = (
    (builtins, "open"),
    (io, "open"),
    (os, "open"),
    (os, "stat"),
    (os, "lstat"),
    (os, "fstat"),
    (os, "mkdir"),
    (os, "rmdir"),
    (os, "replace"),
    (os, "rename"),
    (os, "unlink"),
    (os, "scandir"),
    (os, "listdir"),
    (os, "chmod"),
    (os, "chown"),
    (os, "readlink"),
    (os, "getcwd"),
    (os, "getloadavg"),
    (os, "write"),
    (subprocess, "Popen"),
)
"""Functions that the standard library finally calls for files, folders and processes."""


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """A line of the project, and a system call that it makes, by itself or through a library."""

    call: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.call}-{self.file}:{self.line}"


@dataclass(slots=True)
class Faults:
    """The calls that were made, and the one that fails."""

    seen: set[Site] = field(default_factory=set)
    failing: Site | None = None
    error: BaseException | None = None
    n_failed: int = 0

    def count_call(self, call: str) -> None:
        """Notes a call, and fails if it is the one."""
        site = _site(call)
        if site is None:
            return
        self.seen.add(site)
        if site == self.failing and self.error is not None:
            self.n_failed += 1
            raise copy.copy(self.error)

    @contextmanager
    def making(self, site: Site, error: BaseException) -> Iterator[None]:
        """Makes a call fail, as often as it is made."""
        self.failing, self.error, self.n_failed = site, error, 0
        try:
            yield
        finally:
            self.failing = None


class _Writer:
    """A file that is written to, whose writing and closing count as calls."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def write(self, data: Any) -> Any:
        self._faults.count_call("write")
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()
        self._faults.count_call("close")

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def install(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Watches all calls until the test ends."""
    faults = Faults()
    for module, name in CALLS:
        monkeypatch.setattr(module, name, _watched(getattr(module, name), name, faults))
    return faults


def _watched(original: Any, name: str, faults: Faults) -> Any:
    if isinstance(original, type):  # Popen, which is also a type

        class Watched(original):  # type: ignore[misc]
            def __init__(self, *args: Any, **settings: Any) -> None:
                faults.count_call(name)
                super().__init__(*args, **settings)

        return Watched

    def watched(*args: Any, **settings: Any) -> Any:
        faults.count_call(name)
        made = original(*args, **settings)
        mode = args[1] if len(args) > 1 else settings.get("mode", "r")
        if original is io.open or (name == "open" and isinstance(made, io.IOBase)):
            return _Writer(made, faults) if {*"wxa"} & set(str(mode)) else made
        return made

    return watched


def _site(call: str) -> Site | None:
    """The innermost line of ours, with nothing but the standard library between it and the call."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file == __file__:
            frame = frame.f_back
            continue
        if file.startswith(OURS):
            return Site(call, str(Path(file).relative_to(ROOT)), frame.f_lineno)
        if "importlib" in file or not file.startswith(STANDARD_LIBRARY) or "site-packages" in file:
            return None
        frame = frame.f_back
    return None


Scenario = Callable[[], None]
