"""Compiles what the whole suite runs before its first test, as many at a time as processors.

Test after test would compile the same one at a time. What is missing here is compiled by the test
that needs it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.cpu.cpu_level import FORCED, LEVELS
from implementations.max_graph.load_plan import make_plan
from implementations.max_graph.request import CompileRequest
from implementations.options import LoadOptions
from implementations.processor_threads import available_threads
from tests.support import cpu_kernels, loaded
from tests.support.checkpoints import random_tensors
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions

NAMED = (("tiny.en", "float32"), ("tiny.en", "int8"), ("base", "float32"))
"""Named models that tests run on `hybrid` and `full-max`, and their dtypes."""


def precompile(tell: Callable[[str], None]) -> None:
    """Compiles the graphs of all models that tests run on a CPU, and those of single operations."""
    jobs: list[Callable[[], object]] = [cpu_kernels.compiled]
    jobs += [partial(compiled_graphs, request, tell) for request in _requests()]
    with ThreadPoolExecutor(available_threads()) as pool:
        for running in [pool.submit(job) for job in jobs]:
            with suppress(ImplementationFailedError, AssertionError):  # a test will say so
                running.result()


def _requests() -> list[CompileRequest]:
    requests: list[CompileRequest] = []
    for name, dtype in NAMED:
        plan = make_plan(loaded.checkpoint(name), LoadOptions(dtype=dtype), has_decoder=True)
        requests += plan.requests
    requests += make_plan(_random(_odd_dims()), LoadOptions(), has_decoder=True).requests
    for level in LEVELS:
        dtype = "bfloat16" if level.name == "amx" else "float32"
        with pytest.MonkeyPatch.context() as patch, suppress(ImplementationUnavailableError):
            patch.setenv(FORCED, level.name)
            options = LoadOptions(dtype=dtype)
            requests += make_plan(_random(_level_dims()), options, has_decoder=False).requests
    return list(dict.fromkeys(requests))


def _random(dims: ModelDimensions) -> Checkpoint:
    tensors = random_tensors(dims, dtype=np.float32)
    return Checkpoint(dims, tensors, ((0, 0),), Path("made-up"))


def _odd_dims() -> ModelDimensions:
    """Sizes of the model of `test_odd_shapes`."""
    from tests.implementations.max_graph.cpu.test_odd_shapes import DIMS

    return DIMS


def _level_dims() -> ModelDimensions:
    """Sizes of the model of `test_cpu_levels`."""
    from tests.implementations.max_graph.cpu.test_cpu_levels import DIMS

    return DIMS
