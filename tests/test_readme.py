"""Truth of the README about commands, options, implementations, files and Python."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from implementations import registry
from tests.support import loaded
from tests.test_architecture import ROOT, tracked_files

README = (ROOT / "README.md").read_text(encoding="utf-8")
OPTION = re.compile(r"--[a-z][a-z0-9-]+")
UNLISTED = {"__init__.py", "py.typed"}


def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "maxwhisper_cli", *command, "--help"],
        env={"COLUMNS": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def section(title: str) -> str:
    """From a heading to the next one of the same level."""
    level = title.split(" ", 1)[0]
    return README.split(f"\n{title}\n", 1)[1].split(f"\n{level} ", 1)[0]


def fenced(text: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found.group(1)


def tree_paths() -> list[str]:
    """The paths of the file tree; a folder ends in a slash."""
    paths: list[str] = []
    folder = ""
    for line in fenced(section("## Where things are"), "text").splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else ""
        paths.append(folder + name)
        if not line.startswith(" ") and name.endswith("/"):
            folder = name
    return paths


def test_help_is_the_real_one() -> None:
    assert fenced(section("## Use"), "text") == help_of()


def test_every_option_is_in_the_overview() -> None:
    rows = [line for line in section("## Use").splitlines() if line.startswith("| ")]
    listed = [option for row in rows for option in OPTION.findall(row)]
    assert len(listed) == len(set(listed))
    real = re.findall(r"^  (?:-\w, )?(--[a-z0-9-]+)", help_of("transcribe"), re.MULTILINE)
    assert set(listed) == set(real) - {"--help"}


def test_every_implementation_is_in_the_table() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \| (.+?) \|", section("### Implementations"), re.M
    )
    real = [(e.name, e.encoder, e.decoder, e.device) for e in registry.ENTRIES]
    assert rows == real


def test_the_file_tree_is_the_real_one() -> None:
    """Each path exists, and a folder whose entries are listed has them all listed."""
    listed = tree_paths()
    assert len(listed) == len(set(listed))
    real = set()
    for path in tracked_files():
        parts = path.relative_to(ROOT).parts
        real |= {"/".join(parts[:depth]) + "/" for depth in range(1, len(parts))}
        real.add("/".join(parts))
    assert set(listed) - real == set()
    opened = {"", *(f"{path.split('/')[0]}/" for path in listed if "/" in path[:-1])}
    entries = {
        path
        for path in real
        if path.rstrip("/").rpartition("/")[0] + "/" * ("/" in path[:-1]) in opened
        and Path(path).name not in UNLISTED
    }
    assert entries - set(listed) == set()


@pytest.mark.full
def test_the_python_example_has_the_right_types(tmp_path: Path) -> None:
    """A second mypy beside that of `make check`; it takes some seconds."""
    example = tmp_path / "example.py"
    example.write_text(fenced(section("### From Python"), "python"), encoding="utf-8")
    mypy = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*mypy, str(example)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_python_example_runs(
    jfk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    soundfile.write(tmp_path / "talk.mp3", loaded.samples_of(jfk), 16000)
    example = tmp_path / "example.py"
    example.write_text(fenced(section("### From Python"), "python"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example))
    printed = capsys.readouterr().out
    assert printed.count("ask not what your country can do for you") == 4
    assert "1 song.mp3 does not exist" in printed
    assert "en 11.0" in printed
