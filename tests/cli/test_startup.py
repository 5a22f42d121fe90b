"""Start of the command line: speed, help, version and exit codes."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maxwhisper_cli.lazy_commands import COMMANDS, CommandEntry
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


OURS = ("maxwhisper_cli", "implementations", "weights")
OF_HELP = {
    "maxwhisper_cli",
    "maxwhisper_cli.__main__",
    "maxwhisper_cli.app",
    "maxwhisper_cli.commands",
    "maxwhisper_cli.commands.examples",
    "maxwhisper_cli.configuration",
    "maxwhisper_cli.console",
    "maxwhisper_cli.lazy_commands",
    "maxwhisper_cli.log",
    "maxwhisper_cli.standard_streams",
    "maxwhisper_cli.stopping",
    "maxwhisper_cli.system_errors",
    "maxwhisper_cli.tables",
    "weights",
    "weights.errors",
    "weights.printable",
}
"""All modules of the project that the list of commands needs."""
NOT_OF_FULL_MAX = {
    "av": "no container is read, libsndfile takes the wav file",
    "torch": "PyTorch has no part in full-max",
    "whisper": "openai-whisper's package imports torch",
    "rich": "nothing is drawn, the streams are pipes",
    "max.engine": "graphs are run, not compiled",
    "max.graph": "graphs are run, not built",
    "filelock": "nothing is stored",
    "httpx2": "nothing is fetched",
    "urllib.request": "nothing is fetched",
    "importlib.metadata": "nobody asks for a version",
    "implementations.max_graph.gpu.implementation": "it runs on the CPU",
    "implementations.max_graph.compile": "graphs are in the cache",
    "implementations.torch_decoder": "PyTorch has no part in full-max",
    "maxwhisper_cli.captions.style": "no style is chosen",
    "maxwhisper_cli.captions.styled_layout": "no style is chosen",
    "maxwhisper_cli.commands.compare": "another command",
    "maxwhisper_cli.compare": "another command",
    "maxwhisper_cli.inputs.manifest": "there is none",
    "maxwhisper_cli.live_activity": "nothing is drawn",
    "maxwhisper_cli.package_archive": "nothing is fetched",
    "maxwhisper_cli.speech.network": "speech is not searched for",
    "maxwhisper_cli.throughput.read_ahead": "there is one file",
    "maxwhisper_cli.throughput.scheduler": "there is one file",
    "maxwhisper_cli.writers.ttml": "another format",
}
"""Modules that a short transcription must not import, and why it does not need them."""


def test_help_imports_no_command() -> None:
    modules = modules_after("--help")
    assert {name for name in modules if name.partition(".")[0] in OURS} == OF_HELP
    assert "rich" not in modules


def test_each_command_is_imported_alone() -> None:
    modules = modules_after("models", "--help")
    commands = {name for name in modules if name.startswith("maxwhisper_cli.commands.")}
    assert commands == {"maxwhisper_cli.commands.models", "maxwhisper_cli.commands.examples"}


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_command_is_listed_as_it_says(entry: CommandEntry) -> None:
    command = entry.load()
    assert command.name == entry.name
    assert command.get_short_help_str(1000) == entry.summary


@pytest.mark.max
def test_transcribing_imports_only_what_it_uses(jfk: Path, tmp_path: Path) -> None:
    options = ["--impl", "full-max", "--device", "cpu", "--model", "tiny.en", "-o", str(tmp_path)]
    options += ["--dtype", "float32"]  # compiled for other tests
    modules = modules_after("transcribe", str(jfk), *options)
    assert "maxwhisper_cli.transcription.longform" in modules
    assert NOT_OF_FULL_MAX.keys() & modules == set()


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
