"""The section `transcribe`: time and peak memory on a long clip, model load apart.

openai-whisper's own `transcribe`, greedy and with 5 beams, is what `cpu` is measured against; `cpu`
is what the others are. That the texts agree is checked, since times of different work say nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import python

SEARCHES: dict[str, int | None] = {"greedy": None, "beam 5": 5}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A contender, what it is measured against, and the ratios it may reach at most."""

    contender: str
    baseline: str
    time_bar: float | None
    memory_bar: float


COMPARISONS = (
    Comparison("cpu", "whisper", time_bar=1.05, memory_bar=1.1),
    Comparison("hybrid", "cpu", time_bar=None, memory_bar=1.0),
    Comparison("full-max", "cpu", time_bar=0.8, memory_bar=1.0),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one contender."""

    load_seconds: float
    transcribe_seconds: float
    peak_mib: float
    text: str


def transcribe_rows(setting: Setting) -> list[Row]:
    rows: list[Row] = []
    comparisons = [c for c in COMPARISONS if c.contender in setting.available]
    contenders = list(dict.fromkeys(n for c in comparisons for n in (c.baseline, c.contender)))
    for search, beam_size in SEARCHES.items():
        runs: dict[str, list[Measurement]] = {contender: [] for contender in contenders}
        for number in range(setting.n_runs):
            for contender in contenders:
                run = measure(contender, setting, beam_size)
                runs[contender].append(run)
                setting.console.print(
                    f"{search}, run {number + 1} of {setting.n_runs}, {contender}: load "
                    f"{run.load_seconds:.2f} s, transcribe {run.transcribe_seconds:.2f} s, "
                    f"peak {run.peak_mib:.0f} MiB",
                    highlight=False,
                )
                if run.text != runs[contenders[0]][0].text:
                    raise SystemExit(
                        f"{search}: {contender} and {contenders[0]} differ in their texts, so "
                        "their times cannot be compared"
                    )
        rows += [row for c in comparisons for row in compare(c, search, runs)]
    return rows


def measure(contender: str, setting: Setting, beam_size: int | None) -> Measurement:
    beams = [] if beam_size is None else ["--beam-size", str(beam_size)]
    inputs = [str(Path(setting.folder) / name) for name in ("weights.pt", "samples.npy")]
    threads = ["--threads", str(setting.n_threads)]
    return Measurement(**json.loads(python("measure.py", contender, *inputs, *threads, *beams)))


def compare(comparison: Comparison, search: str, runs: dict[str, list[Measurement]]) -> list[Row]:
    """The rows of one comparison: time, then memory."""
    ours, theirs = runs[comparison.contender], runs[comparison.baseline]

    def row(quantity: str, unit: str, field: str, bar: float | None) -> Row:
        return Row(
            section=search,
            quantity=quantity,
            unit=unit,
            contender=comparison.contender,
            runs=[getattr(run, field) for run in ours],
            bar=bar,
            baseline=comparison.baseline,
            baseline_runs=[getattr(run, field) for run in theirs],
        )

    return [
        row("time", "s", "transcribe_seconds", comparison.time_bar),
        row("peak memory", "MiB", "peak_mib", comparison.memory_bar),
    ]
