"""Runs campaigns and prints a table: target, cases, seconds, lines reached, findings.

    python -m tests.fuzz.campaign [TARGET ...] [--cases N] [--seconds S] [--seed N] [--out DIR]

Where atheris is installed, parsers are searched by it, guided by branches; otherwise by lines that
were not reached before, in Python and slower. The process may take 4 GiB of memory. Cases that went
wrong are stored in the folder of `--out`, and each should become a test.
"""

import argparse
import hashlib
import importlib.util
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.audio import run_audio
from tests.fuzz.command_lines import run_command_lines
from tests.fuzz.guided import Campaign, run_campaign
from tests.fuzz.http_bodies import run_http_bodies
from tests.fuzz.targets import TARGETS

_MAX_BYTES = 4 * 2**30
OTHERS = {
    "audio files": run_audio,
    "command lines": run_command_lines,
    "http bodies": run_http_bodies,
}
"""Campaigns that are no parser's; they count cases and findings alike."""


def main() -> int:
    """Returns 1 if there was a finding."""
    names = [target.name for target in TARGETS] + list(OTHERS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(names))
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    given = parser.parse_args()
    if unknown := set(given.targets) - set(names):
        parser.error(f"there is no target {unknown}; the targets are {', '.join(names)}")
    logging.disable(logging.CRITICAL)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (min(_MAX_BYTES, soft % 2**63), hard))
    n_findings = 0
    print(f"| {'target':16} | {'cases':>8} | {'seconds':>7} | lines | findings |", flush=True)
    print("| --- | --- | --- | --- | --- |", flush=True)
    for name in given.targets or names:
        with tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
            campaign = _run(name, Path(folder), given)
        n_findings += len(campaign.findings)
        counts = f"{campaign.n_cases:8} | {campaign.seconds:7.0f} | {campaign.n_lines:5}"
        print(f"| {name:16} | {counts} | {len(campaign.findings):8} |", flush=True)
        for place, case in campaign.findings.items():
            given.out.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(case).hexdigest()[:12]
            path = given.out / f"{name.replace(' ', '-')}-{digest}"
            path.write_bytes(case)
            print(f"  {place}\n  in {path}", file=sys.stderr, flush=True)
    return int(n_findings > 0)


def _run(name: str, folder: Path, given: argparse.Namespace) -> Campaign:
    limits = {"seed": given.seed, "n_cases": given.cases, "max_seconds": given.seconds}
    if name in OTHERS:
        return OTHERS[name](folder, **limits)
    (target,) = [target for target in TARGETS if target.name == name]
    if importlib.util.find_spec("atheris") is None:
        return run_campaign(target, folder, **limits)
    found = _by_atheris(name, folder, given)
    units = [path.read_bytes() for path in sorted((folder / "corpus").iterdir())]
    (folder / "lines").mkdir()
    reached = run_campaign(target, folder / "lines", seed=0, n_cases=0, corpus=units)
    return Campaign(found.n_cases, found.seconds, reached.n_lines, units, found.findings)


def _by_atheris(name: str, folder: Path, given: argparse.Namespace) -> Campaign:
    """A campaign in a process of its own, which the engine ends."""
    (folder / "run").mkdir()
    report, log = folder / "run" / "report.json", folder / "log"
    command = [sys.executable, "-m", "tests.fuzz.by_atheris", name, "--out", str(report)]
    command += ["--cases", str(given.cases), "--seed", str(given.seed)]
    command += ["--seconds", str(given.seconds), "--corpus", str(folder / "corpus")]
    with log.open("wb") as file:
        done = subprocess.run(command, stdout=file, stderr=file, check=False)
    if not report.is_file():
        text = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        finding = f"the process ended with {done.returncode}: {text}"
        return Campaign(findings={finding: _last_case()})
    counted = json.loads(report.read_bytes())
    findings = {place: bytes.fromhex(case) for place, case in counted["findings"].items()}
    return Campaign(counted["cases"], counted["seconds"], findings=findings)


def _last_case() -> bytes:
    """Returns what libFuzzer leaves of a case that ended the process; empty if nothing."""
    left = sorted([*Path().glob("crash-*"), *Path().glob("oom-*")], key=os.path.getmtime)
    return left[-1].read_bytes() if left else b""


def _memory_folder() -> str | None:
    """A folder in memory, where there is one: a million cases would wear a disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
