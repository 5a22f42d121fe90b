"""On an H100 or H200: Hopper's kernels beside the portable ones, tiny.en in float16, in turns.

Encoder, decoder step and whole recordings, in one process: `python -m tests.benchmarks.gpu_paths`.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from max.driver import Accelerator
from rich.console import Console

from implementations.gpu_targets import KERNELS_SWITCH
from implementations.max_graph.gpu.implementation import GpuFullMax
from implementations.max_graph.gpu.load import CapturedGraph
from maxwhisper_cli.audio.reader import SAMPLE_RATE, open_audio
from maxwhisper_cli.model import Model
from maxwhisper_cli.samples import fetch_samples
from tests.benchmarks.gpu import GREEDY, checkpoint_for, implementation, stepping_decoder
from tests.benchmarks.rivals_prepare import joined

PATHS = ("own", "portable")
BATCHES = (1, 8, 32)
N_ROUNDS = 12
"""Rounds of each path, in turn; the first two are not counted."""


def main() -> None:
    """Prints a line for each measurement."""
    checkpoint, _ = checkpoint_for("tiny.en")
    loaded: list[GpuFullMax] = []
    for path in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(KERNELS_SWITCH, path)
            one = implementation("full-max", checkpoint)
        assert isinstance(one, GpuFullMax)
        loaded.append(one)
    for n_batch in BATCHES:
        report(f"encoder, {n_batch} windows", [encoder(each, n_batch) for each in loaded], 5)
    for n_batch in BATCHES:
        steps = [stepping_decoder(each, n_batch).step for each in loaded]
        report(f"step, {n_batch} rows", steps, 20)
    with open_audio(fetch_samples(["sonnet"])["sonnet"]) as audio:
        clip = joined([audio.read()] * 3)
    runs = [partial(Model(each).transcribe, clip, GREEDY) for each in loaded]
    report(f"{len(clip) / SAMPLE_RATE:.0f} s, greedy", runs, 1)


def encoder(each: GpuFullMax, n_batch: int) -> Callable[[], None]:
    """Returns a function that encodes windows and waits for them."""
    mel = np.random.default_rng(0).standard_normal((n_batch, each.dims.n_mels, 3000), np.float32)
    uploaded = each._graphs.upload(mel)
    graph = each._graphs.models["encoder"]
    graph.execute(uploaded)
    return CapturedGraph.capture(graph, uploaded).replay


def report(what: str, runs: Sequence[Callable[[], object]], repeats: int) -> None:
    """Prints both medians in milliseconds, and the portable one's share of Hopper's."""
    device, times = Accelerator(), [list[float]() for _ in runs]
    for _ in range(N_ROUNDS):
        for run, own in zip(runs, times, strict=True):
            began = time.perf_counter()
            for _ in range(repeats):
                run()
            device.synchronize()
            own.append((time.perf_counter() - began) / repeats * 1e3)
    hopper, portable = (statistics.median(own[2:]) for own in times)
    line = f"{what:20} {hopper:9.4f} ms  {portable:9.4f} ms  {portable / hopper:.3f}"
    Console().print(line, highlight=False)


if __name__ == "__main__":
    main()
