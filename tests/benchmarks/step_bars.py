"""The section `steps`: one window through the encoder, and one greedy step at three positions.

In float32 and in the dtype that `auto` takes, against PyTorch in float32 and under autocast.

Each run is a process that goes over all positions; the time at a position is the median over the
ten steps around it, since one step alone is mostly noise.
"""

import json
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import python
from tests.benchmarks.rounds import take_turns

POSITIONS = (10, 200, 440)
N_PASSES = 2
N_AROUND = 5
AVX2 = "@avx2"
AVX2_ENVIRONMENT = {
    "MAXWHISPER_CPU": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""Hold this project's kernels and PyTorch's to AVX2."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A contender, what it is measured against, and the ratio that it may reach at most.

    Both are NAME or NAME:DTYPE, with @avx2 behind where the processor is to be held to that.
    """

    contender: str
    baseline: str
    bar: float
    with_steps: bool = True


COMPARISONS = (
    Comparison("hybrid", "cpu", 1.0),
    Comparison("full-max", "cpu", 1.0),
    Comparison("full-max:auto", "cpu", 0.5),
    Comparison("full-max:auto", "cpu:autocast", 1.0, with_steps=False),
    Comparison("full-max:auto@avx2", "cpu@avx2", 1.0),
)


@dataclass(frozen=True, slots=True)
class Steps:
    """One process of one implementation, in milliseconds."""

    encoder_ms: float
    ms_at: dict[int, float]
    """Milliseconds of a token, by position."""


def step_rows(setting: Setting) -> list[Row]:
    comparisons = [c for c in COMPARISONS if implementation_of(c.contender) in setting.available]
    names = dict.fromkeys(n for c in comparisons for n in (c.baseline, c.contender))
    runs = take_turns(setting, "steps", names, lambda name: measure(name, setting), described)
    return [row for comparison in comparisons for row in compare(comparison, runs)]


def implementation_of(name: str) -> str:
    """Names of NAME:DTYPE@avx2."""
    return name.removesuffix(AVX2).partition(":")[0]


def described(steps: Steps) -> str:
    at = ", ".join(f"{ms:.2f} ms at {n}" for n, ms in steps.ms_at.items())
    return f"encoder {steps.encoder_ms:.0f} ms, a token {at}"


def measure(name: str, setting: Setting) -> Steps:
    arguments = ["--model", setting.model, "--threads", str(setting.n_threads)]
    printed = python(
        *("steps_measure.py", name.removesuffix(AVX2), *arguments),
        *("--runs", str(N_PASSES), "--batches", "1"),
        changes=AVX2_ENVIRONMENT if name.endswith(AVX2) else None,
    )
    numbers = json.loads(printed)
    return Steps(
        encoder_ms=1e3 * numbers["encoder_seconds"]["1"],
        ms_at=milliseconds_at(numbers["step_seconds"]),
    )


def milliseconds_at(step_seconds: list[list[float]]) -> dict[int, float]:
    """Returns the time of a step at the reported positions, from all passes and positions."""
    milliseconds = 1e3 * np.array(step_seconds)
    return {
        n: float(np.median(milliseconds[:, n - 1 - N_AROUND : n - 1 + N_AROUND])) for n in POSITIONS
    }


def compare(comparison: Comparison, runs: dict[str, list[Steps]]) -> list[Row]:
    """The encoder's row, then one for each position."""
    ours, theirs = runs[comparison.contender], runs[comparison.baseline]

    def row(quantity: str, own: list[float], baseline: list[float]) -> Row:
        return Row(
            *("steps", quantity, "ms", comparison.contender, own),
            *(comparison.bar, comparison.baseline, baseline),
        )

    encoder = row(
        "encoder window", [run.encoder_ms for run in ours], [run.encoder_ms for run in theirs]
    )
    return [
        encoder,
        *(
            row(f"step at {n}", [run.ms_at[n] for run in ours], [run.ms_at[n] for run in theirs])
            for n in (POSITIONS if comparison.with_steps else ())
        ),
    ]
