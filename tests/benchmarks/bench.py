"""`make bench-bars`: every number that has a bar, from one run, with pass or miss.

Contenders are processes of their own and take turns, and a ratio is one of medians; its range over
single rounds is told beside it. Sections are independent: `--only steps` runs one. That of larger
models, `sizes`, is run only where it is named.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from implementations import registry
from maxwhisper_cli.compare.machine import describe_machine
from tests.benchmarks.bars import Row, Setting, table
from tests.benchmarks.command_bars import compile_rows, start_rows
from tests.benchmarks.fast_bars import fast_rows
from tests.benchmarks.processes import maxwhisper_command, python, wall_seconds
from tests.benchmarks.reading_bars import reading_rows
from tests.benchmarks.size_bars import size_rows
from tests.benchmarks.step_bars import step_rows
from tests.benchmarks.transcribe_bars import transcribe_rows
from tests.benchmarks.word_bars import word_rows

MODEL = "tiny.en"
SECTIONS: dict[str, Callable[[Setting], list[Row]]] = {
    "start": start_rows,
    "reading": reading_rows,
    "steps": step_rows,
    "transcribe": transcribe_rows,
    "fast": fast_rows,
    "words": word_rows,
    "compile": compile_rows,
    "sizes": size_rows,
}
USUAL = [name for name in SECTIONS if name != "sizes"]
COMPILED = ("hybrid", "full-max")
TABLE_WIDTH = 136
"""Its lines are whole in a pipe, whose width is taken for 80."""


def arguments_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=USUAL)
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of each contender (default 3); compile has one"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--seconds", type=float, help="transcribe only so much of the long clip (default all)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    return parser.parse_args()


def available(console: Console) -> frozenset[str]:
    """The implementations that can run here; the others are named."""
    reasons = {name: registry.unavailable_because(name) for name in ("cpu", *COMPILED)}
    for name, reason in reasons.items():
        if reason is not None:
            console.print(f"left out: {name}: {reason}", highlight=False)
    return frozenset(name for name, reason in reasons.items() if reason is None)


def run_sections(arguments: argparse.Namespace, console: Console) -> list[Row]:
    rows: list[Row] = []
    names = available(console)
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(folder, MODEL, arguments.runs, arguments.threads, names, console)
        length = [] if arguments.seconds is None else ["--seconds", str(arguments.seconds)]
        python("prepare.py", folder, *length)
        compiled = [name for name in COMPILED if name in names]
        if compiled and set(arguments.only) != {"compile"}:
            # Compiling is a section of its own and must not count in the others.
            what = ("compile", "--impl", ",".join(compiled), "--model", MODEL)
            for dtype in ("float32", "auto"):
                wall_seconds(maxwhisper_command(*what, "--dtype", dtype))
        for name in arguments.only:
            added = SECTIONS[name](setting)
            console.print(table(added))
            rows += added
    return rows


def main() -> int:
    """Prints the tables; 1 where a bar is missed."""
    arguments = arguments_of()
    machine, console = describe_machine(), Console()
    console.width = max(console.width, TABLE_WIDTH)
    rows = run_sections(arguments, console)
    if len(arguments.only) > 1:
        console.print("\nall sections", table(rows), sep="\n")
    if machine.is_busy:
        console.print(f"the machine was busy (load {machine.load_average:.1f}): times mean little")
    if arguments.json:
        written = {
            "model": MODEL,
            "n_threads": arguments.threads,
            "machine": dataclasses.asdict(machine),
            "rows": [row.as_json() for row in rows],
        }
        arguments.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
