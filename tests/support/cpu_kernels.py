"""The CPU's operations one by one, compiled together and stored in the cache folder.

The key is of the kernels' sources, of what builds the graphs, of MAX and of the processor's level,
so that only a change of one of these compiles again; see cpu_kernel_graphs.py for the graphs.
"""

import hashlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from filelock import FileLock

from implementations.errors import ImplementationUnavailableError
from implementations.max_graph import artifacts, compiler_process
from implementations.max_graph.cpu import cpu_level
from implementations.max_graph.cpu.dtypes import HALF_LEVELS
from implementations.max_graph.cpu.weights import graph_constants
from implementations.max_graph.request import HOST
from weights.cache import cache_root
from weights.helper_process import helper_environment, module_command

Array = npt.NDArray[Any]

N_HEAD = 4
"""Heads of the decoder in all graphs; an encoder's are as many as its inputs say."""
N_AUDIO_CTX = 50
N_VOCAB = 1003
"""No whole number of panels."""
SAMPLE_VOCABULARIES = (N_VOCAB, 51865)
"""A multilingual Whisper's too, which sampling takes by pieces."""
N_LAYER = 2
N_TOKENS = 16
"""Tokens that one run of the graph `greedy` may give."""

WEEK = 7 * 24 * 60 * 60
"""In seconds."""


def has_bfloat16() -> bool:
    """Returns True where graphs with bfloat16 matrices run."""
    try:
        return cpu_level.cpu_level() in HALF_LEVELS
    except ImplementationUnavailableError:
        return False


needs_bfloat16 = pytest.mark.skipif(
    not has_bfloat16(), reason="bfloat16 needs a CPU with AMX or AVX-512 BF16"
)
BFLOAT16 = pytest.param("bfloat16", marks=needs_bfloat16)
DTYPES = ["float32", "float16", BFLOAT16]
"""Types of matrices of operations over many rows."""
DECODERS = ["float32", "float16", "int8", BFLOAT16]
"""Decoders by the dtype of their layers; with int8 the embedding is in two bytes, and bfloat16 is
of long prompts and the audio, beside float16 layers and an embedding in two bytes."""


def key() -> str:
    """Returns a hash that changes with anything that is compiled."""
    digest = hashlib.sha256(f"{compiler_process.max_version()} {cpu_level.cpu_level()}".encode())
    graphs = Path(__file__).with_name("cpu_kernel_graphs.py")
    for source in (*artifacts.sources(HOST), graphs, Path(__file__)):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:32]


def compiled(tell: Callable[[str], None] | None = None, stop: Event | None = None) -> Path:
    """Returns the compiled file; compiles in a process of its own where it is not stored.

    Those that were not used for a week are removed.

    Args:
        tell: Called with a line before compiling and one after it.
        stop: Ends the compiler when it is set.
    """
    tell = tell or (lambda _line: None)
    folder = cache_root() / "compiled-tests"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"cpu-{key()}.mef"
    with FileLock(folder / "cpu.lock"):
        if path.is_file():
            path.touch()
            return path
        for other in folder.glob("cpu-*.mef"):
            if other.stat().st_mtime < time.time() - WEEK:
                other.unlink()
        tell("compiling the graphs of single operations")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            _compile(Path(unfinished) / "graphs.mef", stop or Event()).replace(path)
        tell(f"compiled the graphs of single operations in {time.monotonic() - began:.0f} s")
    return path


def _compile(path: Path, stop: Event) -> Path:
    command = module_command("tests.support.cpu_kernel_graphs", str(path))
    errors = path.with_name("errors.txt")
    with (
        errors.open("wb") as file,
        subprocess.Popen(command, env=helper_environment(), stdout=file, stderr=file) as process,
    ):
        try:
            while process.poll() is None and not stop.is_set():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        finally:
            process.kill()
    assert path.is_file(), errors.read_text("utf-8", "replace")
    return path


@cache
def models() -> dict[str, Any]:
    """Returns the graphs by name: `mlp_float16`, `decode_step_int8`."""
    from max.driver import CPU
    from max.engine import InferenceSession, read

    threads = {"n_threads": graph_constants(n_threads=0)["n_threads"]}
    return InferenceSession(devices=[CPU()]).init_all(read(compiled()), weights_registry=threads)


def run(name: str, *inputs: Any) -> list[Array]:
    """Runs a graph; returns its results as arrays of their own, bfloat16 as float32."""
    return [_numbers(result) for result in models()[name].execute(*inputs)]


def _numbers(result: Any) -> Array:
    from max.dtype import DType

    if result.dtype != DType.bfloat16:
        return result.to_numpy().copy()
    bits = result.view(DType.uint16, result.shape).to_numpy()
    return (bits.astype(np.uint32) << 16).view(np.float32)
