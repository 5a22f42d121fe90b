"""The section `steps`: one window through the encoder, and one greedy step at three positions.

Each run is a process that goes over all positions; the time at a position is the median over the
ten steps around it, since one step alone is mostly noise.
"""

import json
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import python

POSITIONS = (10, 200, 440)
BASELINE = "cpu"
CONTENDERS = ("hybrid", "full-max")
BAR = 1.0
N_PASSES = 2
N_AROUND = 5


@dataclass(frozen=True, slots=True)
class Steps:
    """One process of one implementation, in milliseconds."""

    encoder_ms: float
    ms_at: dict[int, float]
    """Of a token, by position."""


def step_rows(setting: Setting) -> list[Row]:
    contenders = [name for name in CONTENDERS if name in setting.available]
    runs: dict[str, list[Steps]] = {name: [] for name in (BASELINE, *contenders)}
    for number in range(setting.n_runs):
        for name, done in runs.items():
            done.append(measure(name, setting))
            at = ", ".join(f"{ms:.2f} ms at {n}" for n, ms in done[-1].ms_at.items())
            setting.console.print(
                f"steps, run {number + 1} of {setting.n_runs}, {name}: encoder "
                f"{done[-1].encoder_ms:.0f} ms, a token {at}",
                highlight=False,
            )
    return [row for name in contenders for row in compare(name, runs)]


def measure(name: str, setting: Setting) -> Steps:
    arguments = ["--model", setting.model, "--threads", str(setting.n_threads)]
    printed = python(
        "steps_measure.py", name, *arguments, "--runs", str(N_PASSES), "--batches", "1"
    )
    numbers = json.loads(printed)
    return Steps(
        encoder_ms=1e3 * numbers["encoder_seconds"]["1"],
        ms_at=milliseconds_at(numbers["step_seconds"]),
    )


def milliseconds_at(step_seconds: list[list[float]]) -> dict[int, float]:
    """Of each pass and position, from the first on, to the time of a step at those reported."""
    milliseconds = 1e3 * np.array(step_seconds)
    return {
        n: float(np.median(milliseconds[:, n - 1 - N_AROUND : n - 1 + N_AROUND])) for n in POSITIONS
    }


def compare(name: str, runs: dict[str, list[Steps]]) -> list[Row]:
    """The encoder's row, then one for each position."""
    ours, theirs = runs[name], runs[BASELINE]

    def row(quantity: str, own: list[float], baseline: list[float]) -> Row:
        return Row("steps", quantity, "ms", name, own, BAR, BASELINE, baseline)

    encoder = row(
        "encoder window", [run.encoder_ms for run in ours], [run.encoder_ms for run in theirs]
    )
    return [
        encoder,
        *(
            row(f"step at {n}", [run.ms_at[n] for run in ours], [run.ms_at[n] for run in theirs])
            for n in POSITIONS
        ),
    ]
