"""Speed, memory and word error rate beside other Whisper programs, on the same clips.

Every run is a process of its own and the contenders take turns, so that a ratio is one of runs
that lie side by side; its median and range are told. Which contender runs how is in
`rivals_measure.py`. One that is not installed is left out by name; one that fails ends it all.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from implementations import registry
from maxwhisper_cli.compare.accuracy import accuracy
from maxwhisper_cli.compare.machine import describe_machine
from tests.benchmarks.processes import python

BASELINE = "openai-whisper"
RIVALS = {
    BASELINE: "whisper",
    "faster-whisper int8": "faster_whisper",
    "faster-whisper float32": "faster_whisper",
    "whisper.cpp": "pywhispercpp",
}
"""Contenders and the package each needs; whisper.cpp keeps its matrices in float16."""
OURS = (*registry.names(), "full-max:auto")
"""Ours in float32, and the fastest in the dtype that it takes by itself."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process of one contender."""

    load_seconds: float
    seconds: dict[str, float]
    """Seconds of each clip."""
    peak_mib: float
    texts: dict[str, str]

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of one contender."""

    contender: str
    runs: list[Run]
    ratios: list[float]
    """Time by the baseline's, round by round."""
    wer_percent: dict[str, float]
    """Texts of each clip, by the last run."""


def contenders() -> tuple[list[str], dict[str, str]]:
    """Returns the contenders that can run here, and the reasons against the others."""
    missing = {
        name: f"pip install --group bench ({package} is not installed)"
        for name, package in RIVALS.items()
        if importlib.util.find_spec(package) is None
    }
    for name in OURS:
        reason = registry.unavailable_because(name.partition(":")[0])
        if reason is not None:
            missing[name] = reason
        elif name == "cuda":
            missing[name] = "the others run on the processor"
    return [name for name in (*RIVALS, *OURS) if name not in missing], missing


def results_of(rounds: list[dict[str, Run]], references: dict[str, str]) -> list[Result]:
    results = []
    for name in rounds[0]:
        runs = [each[name] for each in rounds]
        ratios = [each[name].total_seconds / each[BASELINE].total_seconds for each in rounds]
        rates = {
            clip: accuracy(references[clip], text, "en").wer
            for clip, text in runs[-1].texts.items()
        }
        wer = {clip: 100 * rate.rate for clip, rate in rates.items() if rate is not None}
        results.append(Result(name, runs, ratios, wer))
    return results


def table(results: list[Result]) -> Table:
    clips = list(results[0].wer_percent)
    drawn = Table(
        *("", "time, s", "ratio", "MiB", *clips),
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in drawn.columns:
        column.no_wrap = True
    for result in results:
        drawn.add_row(
            result.contender,
            spread([run.total_seconds for run in result.runs]),
            spread(result.ratios),
            f"{median(run.peak_mib for run in result.runs):.0f}",
            *(f"{result.wer_percent[clip]:.1f} %" for clip in clips),
        )
    return drawn


def spread(numbers: list[float]) -> str:
    return f"{median(numbers):.2f} ({min(numbers):.2f}-{max(numbers):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(*RIVALS, *OURS),
        help=f"leave out all others but {BASELINE}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    arguments = parser.parse_args()
    console, machine = Console(), describe_machine()
    names, missing = contenders()
    for name, reason in missing.items():
        console.print(f"left out: {name}: {reason}", highlight=False)
    if arguments.only:
        names = [name for name in names if name in {BASELINE, *arguments.only}]
    with tempfile.TemporaryDirectory() as created:
        folder = Path(created)
        python("rivals_prepare.py", created)
        references = {path.stem: path.read_text("utf-8") for path in folder.glob("*.txt")}
        rounds: list[dict[str, Run]] = []
        for number in range(arguments.runs):
            rounds.append({})
            for name in names:
                measured = python(
                    "rivals_measure.py", name, created, "--threads", str(arguments.threads)
                )
                run = Run(**json.loads(measured))
                rounds[-1][name] = run
                console.print(f"round {number + 1}, {name}: {run.total_seconds:.2f} s")
    results = results_of(rounds, references)
    console.print(table(results))
    console.print(
        f"Median (range) of {arguments.runs} rounds over all clips; ratio: to {BASELINE} in the "
        "same round; word error rate of each clip.",
        highlight=False,
    )
    if machine.is_busy:
        console.print(f"the machine was busy (load {machine.load_average:.1f}): times mean little")
    if arguments.json:
        written = {
            "n_threads": arguments.threads,
            "machine": dataclasses.asdict(machine),
            "results": [asdict(result) for result in results],
            "left_out": missing,
        }
        arguments.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
