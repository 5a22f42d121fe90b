"""The audit of the pinned versions: weaknesses fail it, data that cannot be had does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOUND = {"name": "rich", "version": "1", "vulns": []}
WEAK = {"name": "av", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
SKIPPED = {"name": "max", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "code", "last"),
    [
        (json.dumps({"dependencies": [SOUND, SKIPPED]}), 0, "1 of 2 packages, 0 known"),
        (json.dumps({"dependencies": [SOUND, WEAK]}), 1, "2 of 2 packages, 1 known"),
        (json.dumps({"dependencies": [SKIPPED]}), 0, "skipped: the data cannot be had"),
        ("", 0, "skipped: no answer"),
    ],
)
def test_outcomes(tmp_path: Path, answer: str, code: int, last: str) -> None:
    program = tmp_path / "bin" / "pip-audit"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o755)
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    assert last in done.stdout.splitlines()[-1]
    assert code == 0 or "av 1: CVE-1, mended in 2" in done.stdout
