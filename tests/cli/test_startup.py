"""Start of the command line: speed, help, version and exit codes."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import RunCommandLine

HEAVY = {"torch", "max", "whisper", "numpy", "av", "soundfile", "pydantic"}


def modules_after(*arguments: str) -> set[str]:
    """The modules that a command has imported by its end, in a process of its own."""
    code = (
        "import sys; from maxwhisper_cli.__main__ import main\n"
        f"sys.argv = ['maxwhisper', *{list(arguments)!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('modules:', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.partition("modules:")[2].split())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["implementations"], ["transcribe", "--help"], ["samples", "-h"]],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    modules = modules_after(*arguments)
    assert "maxwhisper_cli.app" in modules
    assert modules & HEAVY == set()


def test_wav_file_is_read_without_unneeded_imports(jfk: Path) -> None:
    code = (
        "import sys\n"
        "from maxwhisper_cli.model import Model\n"
        "from maxwhisper_cli.audio.reader import open_audio\n"
        "with open_audio(sys.argv[1]) as audio: assert len(audio.read()) == 11 * 16000\n"
        "print(*sys.modules)"
    )
    arguments = [sys.executable, "-c", code, str(jfk)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    unneeded = {"av", "torch", "max", "filelock", "httpx2", "rich.progress", "importlib.metadata"}
    assert set(done.stdout.split()) & unneeded == set()


def test_models_are_listed_without_a_framework() -> None:
    assert modules_after("models") & {"torch", "max", "whisper"} == set()


def test_version(maxwhisper: RunCommandLine) -> None:
    done = maxwhisper("--version")
    expected = f"maxwhisper {importlib.metadata.version('maxwhisper')}\n"
    assert (done.exit_code, done.stdout) == (0, expected)


def test_version_of_a_copy_is_not_installed(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", fail)
    done = maxwhisper("--version")
    assert (done.exit_code, done.stdout) == (0, "maxwhisper not installed\n")


@pytest.mark.parametrize("width", [60, 80])
def test_the_help_fits_the_terminal(width: int) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "maxwhisper_cli", "transcribe", "--help"],
        env={**os.environ, "COLUMNS": str(width)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lengths = [len(line) for line in shown.splitlines()]
    assert width - 10 < max(lengths) <= width


def test_the_help_groups_options(maxwhisper: RunCommandLine) -> None:
    shown = maxwhisper("transcribe", "--help").stdout
    for heading in ("Input and output:", "Search:", "When a window fails:"):
        assert f"\n{heading}\n" in shown
    assert "--temperature-increment-on-fallback X" in shown


def test_no_command_shows_the_help(maxwhisper: RunCommandLine) -> None:
    done = maxwhisper()
    assert done.exit_code == 2
    assert "transcribe" in done.stdout + done.stderr


def test_an_unknown_command(maxwhisper: RunCommandLine) -> None:
    done = maxwhisper("transcrib")
    assert done.exit_code == 2
    assert "transcribe" in done.stderr
