"""Compiles what the whole suite runs, as many at a time as processors.

Test after test would compile the same one at a time. What is missing here is compiled by the test
that needs it; a test that needs what is being compiled waits for it.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.cpu.cpu_level import FORCED, LEVELS, cpu_level
from implementations.max_graph.cpu.dtypes import HALF_LEVELS
from implementations.max_graph.load_plan import LoadPlan, make_plan
from implementations.max_graph.request import CompileRequest
from implementations.options import LoadOptions
from implementations.processor_threads import available_threads
from tests.support import cpu_kernels
from tests.support.sizes import LEVEL_DIMS, ODD_DIMS
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions
from weights.errors import MaxWhisperError
from weights.resolve import load

NAMED = (("tiny.en", ("float32", "int8")), ("base", ("float32",)))
"""Named models that tests run on `hybrid` and `full-max`, and their dtypes."""


class Precompiler:
    """Compiles in the background, as soon as it is made."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._stop = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Ends compiling, done or not."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        precompile(self.lines.append, self._stop)
        if self.lines:
            self.lines.append(f"all compiled after {time.monotonic() - began:.0f} s")


def precompile(tell: Callable[[str], None], stop: Event | None = None) -> None:
    """Compiles the graphs of all models that tests run on a CPU, and those of single operations."""
    stop = stop or Event()
    with ThreadPoolExecutor(available_threads()) as pool:
        jobs: list[Callable[[], object]] = [partial(cpu_kernels.compiled, tell, stop)]
        jobs += [partial(compiled_graphs, request, tell, stop=stop) for request in _requests()]
        for running in [pool.submit(job) for job in jobs]:
            with suppress(ImplementationFailedError, AssertionError):  # a test will say so
                running.result()


def odd_plan(checkpoint: Checkpoint, n_threads: int = 0) -> LoadPlan:
    """Returns the plan of a model of `ODD_DIMS`, with all graphs in one file.

    A compiler takes half a minute for anything at all; `hybrid` does not run this model.
    """
    plan = make_plan(checkpoint, LoadOptions(n_threads=n_threads), has_decoder=True)
    decoder, encoder = plan.requests
    assert decoder.matrices.encoder == encoder.matrices.encoder
    return replace(plan, requests=(replace(decoder, graphs=(*encoder.graphs, *decoder.graphs)),))


def _requests() -> list[CompileRequest]:
    """Returns what tests run, each once, in the order of its first use."""
    return list(dict.fromkeys(_all_requests()))


def _all_requests() -> Iterator[CompileRequest]:
    for name, dtypes in NAMED:
        with suppress(MaxWhisperError):
            checkpoint = load(name, offline=True)
            for dtype in dtypes:
                options = LoadOptions(dtype=dtype)
                yield from make_plan(checkpoint, options, has_decoder=True).requests
    yield from odd_plan(_weightless(ODD_DIMS)).requests
    for level, dtype in _levels():
        with pytest.MonkeyPatch.context() as patch, suppress(ImplementationUnavailableError):
            patch.setenv(FORCED, level)
            options = LoadOptions(dtype=dtype)
            yield from make_plan(_weightless(LEVEL_DIMS), options, has_decoder=False).requests


def _levels() -> list[tuple[str, str]]:
    """Returns levels and dtypes of a small model; the processor's own runs tiny.en instead."""
    with suppress(ImplementationUnavailableError):
        own = cpu_level()
        dtypes = {
            level.name: "bfloat16" if level.name in HALF_LEVELS else "float32" for level in LEVELS
        }
        return [(name, of) for name, of in dtypes.items() if (name, of) != (own, "float32")]
    return []


def _weightless(dims: ModelDimensions) -> Checkpoint:
    """Returns a model of sizes, with a matrix that stands for all: they are in float32."""
    import numpy as np

    return Checkpoint(dims, {"matrix": np.zeros((1, 1), np.float32)}, ((0, 0),), Path("made-up"))
