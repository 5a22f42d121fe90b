"""Facts about the installed torch, read from its files without importing it."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

_ASSIGNMENT = re.compile(r"^(__version__|cuda)\s*(?::[^=]*)?=\s*(\S+)", re.MULTILINE)
_CUDA = re.compile(r"['\"](\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The installed torch."""

    version: str
    cuda: tuple[int, int] | None
    """CUDA version that it is built for; None if it is built without."""


def torch_build() -> TorchBuild | None:
    """Returns the installed torch, as its file `version.py` says; None if it is unknown."""
    spec = importlib.util.find_spec("torch")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        try:
            text = (Path(folder) / "version.py").read_text(encoding="utf-8")
        except OSError:
            continue
        found = dict(_ASSIGNMENT.findall(text))
        if {"__version__", "cuda"} <= found.keys():
            cuda = _CUDA.match(found["cuda"])
            version = found["__version__"].strip("'\"")
            return TorchBuild(version, (int(cuda[1]), int(cuda[2])) if cuda else None)
    return None
