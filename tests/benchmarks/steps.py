"""Time of a decoder step by its position, and of the encoder by the size of a batch.

With a cache, a step's time grows by a constant for each position: the slope of a straight line
through the medians is told with its standard error, and so is the curvature that a parabola would
add, which is noise where growth is linear. Each implementation runs in a process of its own.
"""

import argparse
import dataclasses
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from implementations import registry
from maxwhisper_cli.compare.machine import describe_machine
from tests.benchmarks.processes import python

BATCHES = (1, 2, 4, 8)
SHOWN_POSITIONS = (1, 50, 100, 200, 400)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.2g}"


@dataclass(frozen=True, slots=True)
class Steps:
    """One implementation."""

    implementation: str
    device: str
    dtype: str
    ms_by_position: list[float]
    """Median over the runs, from the first position after the prompt."""
    tokens_per_second: float
    """Over all positions."""
    peak_tokens_per_second: float
    """At the fastest position."""
    slope_us: Estimate
    """By how much each position makes a step longer, in microseconds."""
    curvature_ns: Estimate
    """The square term of a parabola, in nanoseconds for each position squared."""
    encoder_ms_by_batch: dict[int, float]
    """Milliseconds per window of a batch."""


def fitted(milliseconds: npt.NDArray[np.float64], degree: int) -> Estimate:
    """The leading coefficient of a least-squares polynomial in the position, times a thousand."""
    positions = np.arange(1, len(milliseconds) + 1)
    coefficients, covariance = np.polyfit(positions, milliseconds, degree, cov=True)
    return Estimate(1e3 * float(coefficients[0]), 1e3 * float(np.sqrt(covariance[0, 0])))


def measure(name: str, arguments: argparse.Namespace) -> Steps:
    printed = python(
        *("steps_measure.py", name, "--model", arguments.model),
        *("--threads", str(arguments.threads), "--runs", str(arguments.runs)),
        *("--batches", *map(str, BATCHES)),
    )
    numbers = json.loads(printed)
    milliseconds = 1e3 * np.median(np.array(numbers["step_seconds"]), axis=0)
    curvature = fitted(milliseconds, 2)
    return Steps(
        implementation=name,
        device=numbers["device"],
        dtype=numbers["dtype"],
        ms_by_position=milliseconds.tolist(),
        tokens_per_second=1e3 / float(milliseconds.mean()),
        peak_tokens_per_second=1e3 / float(milliseconds.min()),
        slope_us=fitted(milliseconds, 1),
        curvature_ns=Estimate(1e3 * curvature.value, 1e3 * curvature.error),
        encoder_ms_by_batch={
            int(n): 1e3 * seconds / int(n) for n, seconds in numbers["encoder_seconds"].items()
        },
    )


def step_table(results: list[Steps]) -> Table:
    shown = [n for n in SHOWN_POSITIONS if n <= len(results[0].ms_by_position)]
    titles = [f"ms at {n}" if n == 1 else str(n) for n in shown]
    drawn = Table("decoder", *titles, "tok/s", "peak", box=SIMPLE_HEAD)
    for result in results:
        drawn.add_row(
            result.implementation,
            *(f"{result.ms_by_position[n - 1]:.2f}" for n in shown),
            f"{result.tokens_per_second:.0f}",
            f"{result.peak_tokens_per_second:.0f}",
        )
    return drawn


def encoder_table(results: list[Steps]) -> Table:
    drawn = Table("encoder", *(f"batch {n}, ms" for n in BATCHES), box=SIMPLE_HEAD)
    for result in results:
        cells = (f"{result.encoder_ms_by_batch[n]:.1f}" for n in BATCHES)
        drawn.add_row(result.implementation, *cells)
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--impl", nargs="+", choices=registry.names(), default=registry.names(), help="default all"
    )
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--runs", type=int, default=5, help="passes (default 5)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    arguments = parser.parse_args()
    console, machine = Console(), describe_machine()
    results = []
    for name in arguments.impl:
        reason = registry.unavailable_because(name)
        if reason is None:
            results.append(measure(name, arguments))
        else:
            console.print(f"left out: {name}: {reason}", highlight=False)
    if not results:
        raise SystemExit("none of these implementations can run here")
    console.print(step_table(results))
    for result in results:
        console.print(
            f"{result.implementation}: each position adds {result.slope_us} µs to a step; "
            f"a parabola adds {result.curvature_ns} ns by position squared",
            highlight=False,
        )
    console.print(encoder_table(results))
    if machine.is_busy:
        console.print(f"the machine was busy (load {machine.load_average:.1f}): times mean little")
    if arguments.json:
        written = {
            "model": arguments.model,
            "n_threads": arguments.threads,
            "machine": dataclasses.asdict(machine),
            "results": [asdict(result) for result in results],
        }
        arguments.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
