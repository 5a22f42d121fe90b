"""The report: facts by section, and checks."""

import dataclasses
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PASS, FAIL, SKIPPED = "pass", "fail", "skipped"
_SECRET = re.compile(r"token|secret|password|api_?key|credential", re.IGNORECASE)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and its value, as text."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Section:
    """Facts about one thing."""

    title: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """Outcome of something that was tried."""

    name: str
    outcome: str
    """`pass`, `fail` or `skipped`."""
    detail: str = ""
    """For a failure the reason and what to do."""
    is_vital: bool = False
    """True if nothing can be transcribed where it fails."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that `maxwhisper doctor` shows."""

    sections: tuple[Section, ...]
    checks: tuple[Check, ...]

    @property
    def can_run(self) -> bool:
        """True unless a check failed without which nothing is transcribed."""
        return not any(check.is_vital and check.outcome == FAIL for check in self.checks)

    def to_json(self) -> dict[str, object]:
        """Returns the report as JSON: lists of facts by section, and of checks."""
        sections = {s.title: [dataclasses.asdict(fact) for fact in s.facts] for s in self.sections}
        checks = [dataclasses.asdict(check) for check in self.checks]
        return {"can_run": self.can_run, **sections, "checks": checks}


def section(title: str, collect: Callable[[], list[Fact]]) -> Section:
    """Returns a section; if its facts cannot be collected, it says so instead of them."""
    try:
        facts = collect()
    except Exception as error:  # noqa: BLE001  (a report of faults must survive them)
        facts = [Fact("not known", f"{type(error).__name__}: {error}")]
    return Section(title, tuple(Fact(fact.name, without_secrets(fact.value)) for fact in facts))


def shown_variable(name: str, value: str) -> str:
    """Returns the value of a variable or a setting, or that it is set if it names a secret."""
    return "(set)" if _SECRET.search(name) and value else value


def without_secrets(text: str) -> str:
    """Returns a text without users' names and passwords in addresses, and without the home."""
    text = _USER_IN_ADDRESS.sub("...@", text)
    home = os.environ.get("HOME", "")
    if len(home) > 1 and Path(home).is_absolute():
        text = re.sub(rf"{re.escape(home.rstrip('/'))}(?=/|$|[\s,;:)])", "~", text)
    return text
