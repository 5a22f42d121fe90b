"""A campaign by atheris, libFuzzer for Python: mutations of ours and of its own, kept by branches.

    python -m tests.fuzz.by_atheris TARGET --cases N --seed N --corpus DIR --out FILE

Run as a process of its own: the engine instruments modules as they are imported, and never returns.
The report is JSON: cases, seconds, and for each finding its place and the case in hexadecimal.
"""

import argparse
import json
import logging
import os
import random
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["weights", "implementations.max_graph", "maxwhisper_cli", "tomllib"]
):
    from tests.fuzz.guided import Campaign, Target, contents, run_case
    from tests.fuzz.mutation import mutated
    from tests.fuzz.targets import TARGETS

_MAX_BYTES = 2**18  # ggml's seeds need it
_MAX_MIB = 4096


def main() -> None:
    """Runs until the cases are done; the process ends with 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=[target.name for target in TARGETS])
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="written; seeds are added")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    (target,) = [target for target in TARGETS if target.name == given.target]
    _fuzz(target, given)


def _fuzz(target: Target, given: argparse.Namespace) -> None:
    seeds = target.seeds(given.out.parent)
    given.corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds):
        (given.corpus / f"seed{number}").write_bytes(seed)
    case_folder = given.out.parent / "case"
    case_folder.mkdir(exist_ok=True)
    outside = contents(given.out.parent)
    campaign, began = Campaign(), time.monotonic()

    def one(case: bytes) -> None:
        run_case(target, case, case_folder, campaign)
        campaign.n_cases += 1
        campaign.seconds = time.monotonic() - began
        if campaign.n_cases < given.cases and campaign.seconds < given.seconds:
            return
        if contents(given.out.parent) != outside:
            campaign.findings["a file outside of its folder"] = b""
        _report(campaign, given.out)
        os._exit(0)

    def mutator(case: bytes, max_bytes: int, number: int) -> bytes:
        generator = random.Random(number)
        if generator.random() < 0.5:
            own: bytes = atheris.Mutate(case, max_bytes)
            return own
        return mutated(case, seeds, target.tokens, generator)[:max_bytes]

    options = {"runs": -1, "seed": given.seed + 1, "max_len": _MAX_BYTES, "len_control": 0}
    options |= {"rss_limit_mb": _MAX_MIB, "timeout": 0, "verbosity": 0, "detect_leaks": 0}
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(given.corpus)], one, custom_mutator=mutator)
    atheris.Fuzz()


def _report(campaign: Campaign, path: Path) -> None:
    found = {place: case.hex() for place, case in campaign.findings.items()}
    report = {"cases": campaign.n_cases, "seconds": campaign.seconds, "findings": found}
    path.write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
