"""One implementation and size in a process of its own: the encoder, and steps at three positions.

Run by `size_bars.py`. Prints the times as JSON, in milliseconds.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import numpy as np

from implementations import registry
from implementations.implementation import Implementation
from implementations.options import LoadOptions
from implementations.session import AudioFeatures
from tests.benchmarks.steps_measure import AUTOCAST, N_FRAMES, autocast
from weights.checkpoint import Checkpoint
from weights.models import NAMED_MODELS
from weights.names import expected_shapes
from weights.resolve import load

MADE_UP = "-sized"
POSITIONS = (10, 200, 440)
N_RUNS, N_STEPS = 3, 8
TOKEN = 843


def made_up(name: str) -> Checkpoint:
    """A model of a named one's sizes; the same noise over and over, at a tame size."""
    dims = NAMED_MODELS[name].dims
    noise = np.random.default_rng(0).standard_normal(1 << 20, np.float32) * 0.02
    noise = noise.astype(np.float16)
    tensors = {name: np.resize(noise, shape) for name, shape in expected_shapes(dims).items()}
    return Checkpoint(dims, tensors, (), Path(name))


def milliseconds(work: Callable[[], object], n_runs: int) -> float:
    """The median of some runs, after one to warm up."""
    times = []
    for _ in range(n_runs + 1):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return median(times[1:])


def step_milliseconds(
    implementation: Implementation, features: AudioFeatures, position: int
) -> float:
    """Returns the median of some steps around a position."""
    with implementation.start(features, 1) as session:
        n_prompt = position - N_STEPS // 2
        session.prefill([TOKEN] * n_prompt, (n_prompt - 1,))
        return milliseconds(lambda: session.step(np.array([TOKEN])), N_STEPS - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", help="NAME or NAME:DTYPE; cpu:autocast is PyTorch's own")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    name = arguments.model
    if name.endswith(MADE_UP):
        checkpoint = made_up(name.removesuffix(MADE_UP))
    else:
        checkpoint = load(name, model_dir=None, offline=False, progress=None)
    impl, _, dtype = arguments.contender.partition(":")
    options = LoadOptions(
        dtype="float32" if dtype in {"", AUTOCAST} else dtype, n_threads=arguments.threads
    )
    n_mels = checkpoint.dims.n_mels
    mel = np.random.default_rng(0).standard_normal((1, n_mels, N_FRAMES), np.float32)
    with autocast() if dtype == AUTOCAST else nullcontext():
        implementation = registry.implementation_class(impl).load(checkpoint, options)
        del checkpoint
        features = implementation.encode(mel)
        numbers = {
            "encoder_ms": milliseconds(lambda: implementation.encode(mel).numpy(), N_RUNS),
            "ms_at": {
                n: step_milliseconds(implementation, features, n)
                for n in (POSITIONS if dtype != AUTOCAST else ())
            },
        }
    json.dump(numbers, sys.stdout)


if __name__ == "__main__":
    main()
