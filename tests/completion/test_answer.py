"""Completions of a line, as a shell asks for them; the table of commands; the scripts."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maxwhisper_cli.completion import answer
from maxwhisper_cli.completion.kept_table import load_table
from maxwhisper_cli.completion.scripts import install
from maxwhisper_cli.completion.table import make_table
from maxwhisper_cli.transcription.languages import language_names
from maxwhisper_cli.writers.base import OutputError
from maxwhisper_cli.writers.registry import WRITERS
from weights.models import NAMED_MODELS


@pytest.fixture(scope="module")
def table() -> answer.Table:
    return make_table()


def complete(table: answer.Table, line: str) -> tuple[str, list[str]]:
    kind, candidates = answer.complete(table, answer.split(line)[1:])
    return kind, [name for name, _ in candidates]


@pytest.mark.parametrize(
    ("line", "kind", "expected"),
    [
        ("maxwhisper tr", "words", ["transcribe"]),
        ("maxwhisper --no-config tr", "words", ["transcribe"]),
        ("maxwhisper --config-file ", "files", []),
        ("maxwhisper --config-file x tr", "words", ["transcribe"]),
        ("maxwhisper samples fe", "words", ["fetch"]),
        ("maxwhisper samples fetch jf", "words", ["jfk"]),
        ("maxwhisper transcribe --beam-s", "words", ["--beam-size"]),
        ("maxwhisper transcribe --beam_s", "words", ["--beam_size"]),
        ("maxwhisper transcribe ta", "files", []),
        ("maxwhisper transcribe -o ", "folders", []),
        ("maxwhisper transcribe --model tin", "files", ["tiny.en", "tiny"]),
        ("maxwhisper transcribe --model=tin", "files", ["--model=tiny.en", "--model=tiny"]),
        ("maxwhisper transcribe --impl f", "words", ["full-max"]),
        ("maxwhisper compare --impl cpu,", "words", ["cpu,auto", "cpu,cuda", "cpu,hybrid"]),
        ("maxwhisper transcribe -f srt,v", "words", ["srt,vtt"]),
        ("maxwhisper transcribe --language swe", "words", ["swedish"]),
        ("maxwhisper transcribe --task ", "words", ["transcribe", "translate"]),
        ("maxwhisper transcribe --vad ", "files", ["True", "False"]),
        ("maxwhisper transcribe --vad --mod", "words", ["--model", "--model-dir"]),
        ("maxwhisper transcribe --vad a.wav ", "files", []),
        ("maxwhisper transcribe -- --mo", "files", []),
        ("maxwhisper transcribe 'a b", "files", []),
        ("maxwhisper transcribe --nothing=", "words", []),
        ("maxwhisper config com", "words", ["compare", "compile"]),
        ("maxwhisper nothing ", "words", list(make_table()["commands"])),
    ],
)
def test_candidates(table: answer.Table, line: str, kind: str, expected: list[str]) -> None:
    found_kind, found = complete(table, line)
    assert (found_kind, found[: len(expected)]) == (kind, expected)
    assert expected or found == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a b", ["a", "b"]),
        ("a ", ["a", ""]),
        ("a 'b c", ["a", "b c"]),
        ('a "b \\" c" d', ["a", 'b " c', "d"]),
        ("a b\\ c", ["a", "b c"]),
        ("a x'y'\"z\"", ["a", "xyz"]),
        ("a \\", ["a", ""]),
        ('a "', ["a", ""]),
        ("", [""]),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str]) -> None:
    assert answer.split(line) == words


def test_everything_that_is_known_by_name_is_completed(table: answer.Table) -> None:
    assert set(complete(table, "maxwhisper transcribe --model ")[1]) == set(NAMED_MODELS)
    languages = {*language_names(), *language_names().values(), "auto"}
    assert set(complete(table, "maxwhisper transcribe --language ")[1]) == languages
    assert set(complete(table, "maxwhisper transcribe -f ")[1]) == {"all", *WRITERS}


def test_gpus_are_counted(
    table: answer.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0000:17:00.0", "0000:65:00.0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(answer, "GPUS", str(tmp_path))
    found = complete(table, "maxwhisper transcribe --device cuda")[1]
    assert found == ["cuda", "cuda:0", "cuda:1"]


def ask(line: str, shell: str, cache: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "maxwhisper_cli"],
        env={
            **os.environ,
            "COMP_LINE": line,
            "_MAXWHISPER_COMPLETE": shell,
            "MAXWHISPER_CACHE": str(cache),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return [done.stderr, *done.stdout.splitlines()]


def test_the_kept_table_answers_without_slow_imports(tmp_path: Path) -> None:
    """Only the first answer after an update loads the program."""
    first = ask("maxwhisper transcribe --model=tiny", "bash", tmp_path)
    again = ask("maxwhisper transcribe --model=tiny", "bash", tmp_path)
    assert first[1:] == again[1:] == ["files", "tiny.en", "tiny"]  # bash has cut off `--model=`
    assert " typer" in first[0]
    for slow in (" typer", " pathlib", " rich", " logging", " hashlib", " weights"):
        assert slow not in again[0]
    (kept,) = (tmp_path / "completion").iterdir()
    kept.write_text("{")
    assert ask("maxwhisper tr", "fish", tmp_path)[1:] == [
        "words",
        "transcribe\tTranscribe recordings.",
    ]


def test_a_table_that_cannot_be_kept_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ask("maxwhisper tr", "bash", tmp_path / "file")[1:] == ["words", "transcribe"]


def installed(shell: str, home: Path) -> list[str]:
    environment = {"HOME": str(home), "SHELL": f"/bin/{shell}", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "maxwhisper_cli", "completion", "install"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_installing_twice_adds_one_line(shell: str, tmp_path: Path) -> None:
    startup = tmp_path / f".{shell}rc"
    startup.write_text("alias x=y")
    first, again = installed(shell, tmp_path), installed(shell, tmp_path)
    script = Path(first[0].removeprefix("wrote "))
    assert script.is_relative_to(tmp_path)
    assert again == first[:1]
    if len(first) == 2:
        assert startup.read_text().splitlines()[0] == "alias x=y"
        assert len(startup.read_text().splitlines()) == 2
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


def test_a_protected_startup_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even of root, whom the system would let write."""
    startup = tmp_path / ".zshrc"
    startup.write_text("alias x=y")
    startup.chmod(0o444)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZDOTDIR", raising=False)
    with pytest.raises(OutputError, match="may not be written"):
        install("zsh")
    assert startup.read_text() == "alias x=y"


def test_a_folder_with_a_quote_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "o'neil"
    monkeypatch.setenv("HOME", str(home))
    for name in ("ZDOTDIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    home.mkdir()
    script, startup = install("zsh")
    assert script.is_file()
    assert startup is not None
    (line,) = startup.read_text().splitlines()
    folder = shlex.split(line.partition(";")[0].replace("(", " ").replace(")", " "))[1]
    assert folder == str(script.parent)


def test_keeping_a_table_removes_only_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder may hold more, as others choose their cache's name too."""
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path))
    folder = tmp_path / "completion"
    folder.mkdir()
    for name in ("mine.json", "x" * 32 + ".json", "0" * 32 + ".txt", "0" * 32 + ".json"):
        (folder / name).write_text("mine")
    load_table()
    left = {path.name for path in folder.iterdir()}
    assert {"mine.json", "x" * 32 + ".json", "0" * 32 + ".txt"} < left
    assert "0" * 32 + ".json" not in left
    assert len(left) == 4


def test_no_folder_is_made_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAXWHISPER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    load_table()
    assert list(tmp_path.iterdir()) == []


def test_bash_completes_the_line(tmp_path: Path) -> None:
    """The script itself, in bash, with a program of this name."""
    program = tmp_path / "maxwhisper"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m maxwhisper_cli "$@"\n')
    program.chmod(0o755)
    (script,) = [line.removeprefix("wrote ") for line in installed("bash", tmp_path)[:1]]
    commands = (
        f"source '{script}'\n"
        "COMP_LINE='maxwhisper transcribe --device cu'; COMP_POINT=${#COMP_LINE}\n"
        f"compopt() {{ :; }}; _maxwhisper_complete '{program}'\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:1] == ["cuda"]
