"""Lines on stderr, by level and as JSON; colour where the environment wants it or not."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import MakeSound, RunCommandLine


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Handlers and level of Python's logging are as before after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers.copy(), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def transcribe(maxwhisper: RunCommandLine, sound: MakeSound, *options: str) -> str:
    arguments = ("transcribe", sound(), "absent.wav", "--model", "tiny.en", "-f", "txt")
    done = maxwhisper(*options, *arguments)
    assert done.exit_code == 1
    return str(done.stderr)


def test_lines_are_json(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    entries = [
        json.loads(line) for line in transcribe(maxwhisper, sound, "--log-json").splitlines()
    ]
    assert all(list(entry)[:3] == ["time", "level", "message"] for entry in entries)
    files = [entry for entry in entries if entry["message"] == "file"]
    assert [(entry["file"], entry["status"]) for entry in files] == [
        ("talk.wav", "ok"),
        ("absent.wav", "failed: does not exist"),
    ]
    assert [entry["message"] for entry in entries if entry["level"] == "error"] == [
        "absent.wav does not exist: check its name and folder",
        "1 of 2 files failed",
    ]


def test_a_level_leaves_out_what_is_less(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    assert transcribe(maxwhisper, sound, "--log-level", "error", "--log-json").count("\n") == 2
    assert "of audio in" not in transcribe(maxwhisper, sound, "--log-level", "WARNING")
    assert "of audio in" in transcribe(maxwhisper, sound)
    assert maxwhisper("--log-level", "loud", "models").exit_code == 2


@pytest.mark.parametrize("form", [("--log-json",), ("--log-level", "debug")])
def test_messages_of_libraries_come_the_same_way(
    maxwhisper: RunCommandLine, capsys: pytest.CaptureFixture[str], form: tuple[str, ...]
) -> None:
    assert maxwhisper(*form, "models").exit_code == 0
    logging.getLogger("library").warning("%s is odd", "it")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "is odd" in line]
    if form == ("--log-json",):
        assert json.loads(line) | {"time": ""} == {
            "time": "",
            "level": "warning",
            "message": "it is odd",
            "logger": "library",
        }
    else:
        assert line == "warning: it is odd"


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [
        ({}, False),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR_FORCE": "0"}, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_in_pipes(
    sound: MakeSound, tmp_path: Path, variables: dict[str, str], is_coloured: bool
) -> None:
    """Colour changes no layout: without it, the text is the same."""
    command = [sys.executable, "-m", "tests.support.scripted_program", "transcribe"]
    arguments = [str(sound()), "--model", "tiny.en", "-f", "txt", "-o", str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    done = subprocess.run(
        [*command, *arguments],
        env=environment | variables,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert ("\x1b[36m" in done.stdout, "\x1b[2m" in done.stderr) == (is_coloured, is_coloured)
    plain = done.stdout.replace("\x1b[36m", "").replace("\x1b[0m", "")
    assert plain == "[00:00.000 --> 00:01.000] Grüße, 世界.\n"
