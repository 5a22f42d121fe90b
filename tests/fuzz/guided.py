"""A campaign against one target: seeded mutations, kept where they reach new lines.

A case may end in a result or in a `MaxWhisperError`; anything else is a finding: another exception,
more than ten seconds, more memory than the process may have, a file outside of its folder.
"""

import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.mutation import mutated
from weights.errors import MaxWhisperError

MAX_SECONDS = 10
_MAX_CORPUS = 2000


@dataclass(frozen=True)
class Target:
    """Something that reads bytes."""

    name: str
    run: Callable[[bytes, Path], object]
    """Reads a case; the folder is its own, and empty at first."""
    seeds: Callable[[Path], list[bytes]]
    """Valid inputs."""
    sources: tuple[str, ...]
    """Ends of the names of the files whose lines guide the search."""
    tokens: tuple[bytes, ...] = ()


@dataclass
class Campaign:
    """Counts of a campaign."""

    n_cases: int = 0
    seconds: float = 0.0
    n_lines: int = 0
    corpus: list[bytes] = field(default_factory=list)
    findings: dict[str, bytes] = field(default_factory=dict)
    """The first case for each place at which something went wrong."""


class _Lines:
    """Pairs of lines that followed each other in the traced files."""

    def __init__(self, sources: tuple[str, ...]) -> None:
        self.sources = sources
        self.seen: set[tuple[str, int, int]] = set()
        self._is_traced: dict[str, bool] = {}

    @contextmanager
    def traced(self) -> Iterator[None]:
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    def _call(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        name = frame.f_code.co_filename
        if name not in self._is_traced:
            self._is_traced[name] = name.endswith(self.sources)
        if not self._is_traced[name]:
            return None
        last = 0

        def line(inner: FrameType, event: str, _value: Any) -> Any:
            nonlocal last
            if event == "line":
                self.seen.add((name, last, inner.f_lineno))
                last = inner.f_lineno
            return line

        return line


@contextmanager
def time_limit() -> Iterator[None]:
    """Interrupts what takes longer than a case may."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {MAX_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MAX_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_campaign(
    target: Target,
    folder: Path,
    *,
    seed: int,
    n_cases: int,
    max_seconds: float = float("inf"),
    corpus: Sequence[bytes] = (),
) -> Campaign:
    """Runs so many cases, or as many as the time allows.

    Args:
        target: What is called.
        folder: A folder of its own for the cases.
        seed: Decides every case, but for the time limit.
        n_cases: Most cases.
        max_seconds: Most seconds.
        corpus: Inputs of earlier campaigns.
    """
    generator = random.Random(f"{target.name} {seed}")
    case_folder = folder / "case"
    case_folder.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(corpus=[*target.seeds(folder), *corpus])
    outside = contents(folder)
    lines = _Lines(target.sources)
    began = time.monotonic()
    for case in campaign.corpus.copy():
        with lines.traced():
            run_case(target, case, case_folder, campaign)
    while campaign.n_cases < n_cases and time.monotonic() - began < max_seconds:
        data = generator.choice(campaign.corpus)
        case = mutated(data, campaign.corpus, target.tokens, generator)
        n_before = len(lines.seen)
        with lines.traced():
            run_case(target, case, case_folder, campaign)
        campaign.n_cases += 1
        if len(lines.seen) > n_before and len(campaign.corpus) < _MAX_CORPUS:
            campaign.corpus.append(case)
    campaign.seconds = time.monotonic() - began
    campaign.n_lines = len({(name, line) for name, _, line in lines.seen})
    if contents(folder) != outside:
        campaign.findings["a file outside of its folder"] = b""
    return campaign


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def run_case(target: Target, case: bytes, folder: Path, campaign: Campaign) -> None:
    try:
        with time_limit():
            target.run(case, folder)
    except MaxWhisperError:
        return
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [
            f for f in frames if "/tests/" not in f.filename and "site-packages" not in f.filename
        ]
        last = (own or frames)[-1]
        place = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"[:300]
        key = place.partition(": ")[0]
        if all(not found.startswith(key) for found in campaign.findings):
            campaign.findings[place] = case
