"""`make bench`: speed and memory of the implementations as ratios to openai-whisper's.

Every run is a process of its own, the contenders take turns, and a ratio is one of medians. It
measures time and memory only; that the texts agree is checked, since times of different work say
nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEARCHES: dict[str, int | None] = {"greedy": None, "beam 5": 5}
QUANTITIES = {"transcribe_seconds": ("time", "s"), "peak_mib": ("memory", "MiB")}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A contender, what it is measured against, and the ratios it may reach at most."""

    contender: str
    baseline: str
    time_bar: float
    memory_bar: float


COMPARISONS = (Comparison("cpu", "whisper", time_bar=1.05, memory_bar=1.1),)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one contender."""

    load_seconds: float
    transcribe_seconds: float
    peak_mib: float
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    search: str
    contender: str
    baseline: str
    quantity: str
    contender_runs: list[float]
    baseline_runs: list[float]
    ratio: float
    """Of the medians."""
    bar: float
    passed: bool


def python(script: str, *arguments: str) -> str:
    """Run a script of this folder in a process of its own; returns what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(HERE / script), *arguments]
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def measure(contender: str, folder: Path, beam_size: int | None, n_threads: int) -> Measurement:
    beams = [] if beam_size is None else ["--beam-size", str(beam_size)]
    inputs = [str(folder / "weights.pt"), str(folder / "samples.npy")]
    printed = python("measure.py", contender, *inputs, "--threads", str(n_threads), *beams)
    return Measurement(**json.loads(printed))


def compare(comparison: Comparison, search: str, runs: dict[str, list[Measurement]]) -> list[Row]:
    """The rows of one comparison: time, then memory."""
    bars = {"transcribe_seconds": comparison.time_bar, "peak_mib": comparison.memory_bar}
    rows = []
    for quantity, bar in bars.items():
        ours = [getattr(run, quantity) for run in runs[comparison.contender]]
        theirs = [getattr(run, quantity) for run in runs[comparison.baseline]]
        ratio = median(ours) / median(theirs)
        rows.append(
            Row(
                search=search,
                contender=comparison.contender,
                baseline=comparison.baseline,
                quantity=quantity,
                contender_runs=ours,
                baseline_runs=theirs,
                ratio=ratio,
                bar=bar,
                passed=ratio <= bar,
            )
        )
    return rows


def run_all(n_runs: int, n_threads: int, console: Console) -> list[Row]:
    contenders = list(dict.fromkeys(n for c in COMPARISONS for n in (c.baseline, c.contender)))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python("prepare.py", str(folder))
        for search, beam_size in SEARCHES.items():
            runs: dict[str, list[Measurement]] = {contender: [] for contender in contenders}
            for number in range(n_runs):
                for contender in contenders:
                    run = measure(contender, folder, beam_size, n_threads)
                    runs[contender].append(run)
                    console.print(
                        f"{search}, run {number + 1} of {n_runs}, {contender}: load "
                        f"{run.load_seconds:.2f} s, transcribe {run.transcribe_seconds:.2f} s, "
                        f"peak {run.peak_mib:.0f} MiB"
                    )
            if len({run.text for each in runs.values() for run in each}) != 1:
                raise SystemExit(f"{search}: the texts differ, so their times cannot be compared")
            rows += [row for c in COMPARISONS for row in compare(c, search, runs)]
    return rows


def table(rows: Sequence[Row]) -> Table:
    drawn = Table(box=None, pad_edge=False)
    for title in ("", "", "median", "against", "ratio (of single runs)", "bar", ""):
        drawn.add_column(title, no_wrap=True)
    for row in rows:
        name, unit = QUANTITIES[row.quantity]
        ratios = [a / b for a, b in zip(row.contender_runs, row.baseline_runs, strict=True)]
        drawn.add_row(
            f"{row.contender} / {row.baseline}, {row.search}",
            name,
            f"{median(row.contender_runs):.1f} {unit}",
            f"{median(row.baseline_runs):.1f} {unit}",
            f"{row.ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
            f"{row.bar:.2f}",
            "[green]pass[/]" if row.passed else "[red]miss[/]",
        )
    return drawn


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each contender (default 3)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    arguments = parser.parse_args()
    console = Console()
    rows = run_all(arguments.runs, arguments.threads, console)
    console.print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
