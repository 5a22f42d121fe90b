"""The section `sizes`: larger models through the encoder and the decoder, against PyTorch.

base, and a made-up model as large as large-v3, whose weights are noise: how long it takes does not
depend on what it says. Not run unless asked for, since that one takes 12 GB and some minutes.
"""

import json
from dataclasses import dataclass

from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import python
from tests.benchmarks.rounds import take_turns

OURS, WHOLE, AUTOCAST = "full-max:auto", "cpu", "cpu:autocast"
MODELS = ("base", "large-v3-sized")


@dataclass(frozen=True, slots=True)
class Measured:
    """One process of one contender, in milliseconds."""

    encoder_ms: float
    ms_at: dict[str, float]
    """Milliseconds of a token, by position."""


def size_rows(setting: Setting) -> list[Row]:
    if "full-max" not in setting.available:
        return []
    return [row for model in MODELS for row in model_rows(setting, model)]


def model_rows(setting: Setting, model: str) -> list[Row]:
    contenders = (WHOLE, AUTOCAST, OURS)
    runs = take_turns(
        setting,
        f"sizes, {model}",
        contenders,
        lambda name: measure(name, model, setting.n_threads),
        str,
    )
    return compare(model, runs)


def measure(name: str, model: str, n_threads: int) -> Measured:
    arguments = (name, "--model", model, "--threads", str(n_threads))
    numbers = json.loads(python("sizes_measure.py", *arguments))
    return Measured(numbers["encoder_ms"], numbers["ms_at"])


def compare(model: str, runs: dict[str, list[Measured]]) -> list[Row]:
    """The encoder against both ways of PyTorch, steps against float32."""
    ours = runs[OURS]
    encoders = [
        Row(
            *(model, "encoder window", "ms", OURS, [run.encoder_ms for run in ours], bar),
            *(name, [run.encoder_ms for run in runs[name]]),
        )
        for name, bar in ((WHOLE, 0.5), (AUTOCAST, 1.0))
    ]
    return encoders + [
        Row(
            *(model, f"step at {n}", "ms", OURS, [run.ms_at[n] for run in ours], 0.5),
            *(WHOLE, [run.ms_at[n] for run in runs[WHOLE]]),
        )
        for n in ours[0].ms_at
    ]
