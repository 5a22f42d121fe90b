"""Results of openai-whisper that are kept in the cache folder, since nothing of ours is in them.

A result is reused where all that it depends on is the same: versions, weights, samples, options,
processor and threads. An empty cache folder, or `--recompute`, computes them. What is compared with
them is always computed.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from weights.cache import cache_root
from weights.checkpoint import Checkpoint

PACKAGES = ("openai-whisper", "torch", "numpy", "tiktoken")
FACTS_OF_A_PROCESSOR = ("model name", "flags", "CPU part", "Features")

recompute = False
"""Set by the option `--recompute`."""


def folder() -> Path:
    """Returns the folder of results (not created here)."""
    return cache_root() / "references-tests"


def n_kept() -> int:
    """Returns how many results there are."""
    return sum(1 for _ in folder().glob("*.json"))


def kept(
    compute: Callable[[], dict[str, Any]], weights: Checkpoint, samples: np.ndarray, **options: Any
) -> dict[str, Any]:
    """Returns a result as JSON holds it: what was kept, or what is computed now.

    Args:
        compute: Computes it.
        weights: The model.
        samples: The recording.
        options: All else that the result depends on.
    """
    of_what = _hash(_hash_of_weights(weights), samples.tobytes(), repr(sorted(options.items())))
    path = folder() / f"{of_what}-{_hash(*_environment())}.json"
    if path.is_file() and not recompute:
        return json.loads(path.read_text("utf-8"))
    text = json.dumps(compute(), default=lambda number: number.item())  # of NumPy
    path.parent.mkdir(parents=True, exist_ok=True)
    for older in path.parent.glob(f"{of_what}-*.json"):
        older.unlink(missing_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)
    return json.loads(text)


def _environment() -> list[str]:
    import torch

    versions = [f"{package} {version(package)}" for package in PACKAGES]
    threads = f"{torch.get_num_threads()} threads"
    return [*versions, platform.python_version(), _processor(), threads, torch.__config__.show()]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return platform.processor()
    lines = cpuinfo.read_text("utf-8", "replace").partition("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(FACTS_OF_A_PROCESSOR))


def _hash_of_weights(weights: Checkpoint) -> str:
    arrays = sorted(weights.tensors.items())
    return _hash(*(part for name, array in arrays for part in (name, array.tobytes())))


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]
