"""A manifest of short excerpts of real speech, and the command line in processes of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

OPTIONS = ("--model", "tiny.en", "--impl", "cpu", "--threads", "1", "--beam-size", "1", "-q")
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "RAY_USAGE_STATS_ENABLED": "0"}


def command(manifest: Path, folder: Path, *arguments: str) -> list[str]:
    start = [sys.executable, "-m", "maxwhisper_cli", "transcribe", "--manifest", str(manifest)]
    return [*start, "-o", str(folder), *OPTIONS, *arguments]


def start(manifest: Path, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(manifest, folder, *arguments), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )


def finish(processes: "Sequence[subprocess.Popen[str]]", code: int = 0) -> list[str]:
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), errors
    return errors


def lines(folder: Path) -> list[bytes]:
    """All records of a run, sorted by id."""
    found = [
        line for path in folder.glob("unit-*.jsonl") for line in path.read_bytes().splitlines()
    ]
    return sorted(found, key=lambda line: int(json.loads(line)["id"]))


@pytest.fixture
def manifest(jfk: Path, tmp_path: Path) -> Path:
    """Eight excerpts; their durations as the manifest has them make each a unit."""
    entries: list[dict[str, Any]] = [
        {"audio_filepath": str(jfk), "offset": 0.5 * i, "duration": 290 + i, "speaker": f"s{i}"}
        for i in range(8)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path
