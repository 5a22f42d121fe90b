"""The command line as a process of its own, with real speech and real pipes."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from implementations import registry

ROOT = str(Path(__file__).parents[2])
COMMAND = [sys.executable, "-m", "maxwhisper_cli"]
JFK = "ask not what your country can do for you"
GREEDY = [
    "--model",
    "tiny.en",
    "--beam_size",
    "None",
    "--temperature_increment_on_fallback",
    "None",
]

PLAIN = {
    name: value
    for name, value in os.environ.items()
    if name not in {"FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
}
SCRIPTED = """
import maxwhisper_cli.model
from maxwhisper_cli.__main__ import main
from tests.support.fake_models import FakeModels
maxwhisper_cli.model.load = FakeModels().load
main()
"""
"""The command line with a model that says the same in every window."""


def run(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env=PLAIN, input=stdin, capture_output=True, check=False
    )


def test_real_speech_to_files_and_to_a_pipe(jfk: Path, tmp_path: Path) -> None:
    done = run("transcribe", str(jfk), *GREEDY, cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert len(lines) >= 1
    assert all(line.startswith("[00:") and " --> 00:" in line for line in lines)
    assert b"\x1b" not in done.stdout + done.stderr
    assert JFK in (tmp_path / "jfk.txt").read_text("utf-8").replace("\n", " ")
    written = json.loads((tmp_path / "jfk.json").read_bytes())
    assert written["model"] == "tiny.en"
    assert written["implementation"] in registry.names()
    ran_on = "{implementation} ({device}, {dtype})".format(**written)
    assert f" on {ran_on}; wrote" in done.stderr.decode()
    assert written["duration"] == 11.0


def test_real_speech_from_standard_input_as_text_alone(jfk: Path, tmp_path: Path) -> None:
    options = ["-f", "txt", "-o", "-", "--quiet", *GREEDY]
    done = run("transcribe", "-", *options, cwd=tmp_path, stdin=jfk.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert JFK in done.stdout.decode().replace("\n", " ")
    assert b"-->" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_json_for_programs(tmp_path: Path) -> None:
    implementations = json.loads(run("implementations", "--json", cwd=tmp_path).stdout)
    by_name = {entry["name"]: entry for entry in implementations}
    assert by_name["cpu"]["available"] is True
    assert all(
        bool(entry["unavailable_because"]) is not entry["available"] for entry in implementations
    )
    models = {
        entry["name"]: entry for entry in json.loads(run("models", "--json", cwd=tmp_path).stdout)
    }
    assert models["turbo"]["stands_for"] == "large-v3-turbo"
    assert (models["tiny.en"]["languages"], models["large-v3"]["languages"]) == (1, 100)
    assert Path(models["tiny.en"]["path"]).is_file()


@pytest.mark.parametrize("command", ["models", "implementations", "samples"])
def test_tables_are_plain_and_80_wide_when_piped(command: str, tmp_path: Path) -> None:
    done = run(command, cwd=tmp_path)
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\x1b" not in text
    table = [line for line in text.splitlines() if ": /" not in line]  # paths are never wrapped
    assert max(map(len, table)) <= 80
    names = {"models": "large = large-v3", "implementations": "cuda", "samples": "two-channels"}
    assert names[command] in text


def test_a_reader_that_leaves_early_gets_no_complaint(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "models"], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, check=False
    )
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_stops_nothing(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "世界.wav").write_text("no sound")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTED, "transcribe", "世界.wav", "--model", "tiny.en"],
        cwd=tmp_path,
        env={**PLAIN, "PYTHONIOENCODING": encoding, "PYTHONPATH": ROOT},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: ??.wav")
    assert b"Traceback" not in done.stderr


def on_a_terminal(*arguments: str, cwd: Path, **variables: str) -> str:
    """Returns the drawing of the scripted command line on a terminal of 60 columns."""
    ours, theirs = pty.openpty()
    settings = {"TERM": "xterm-256color", "COLUMNS": "60", "PYTHONPATH": ROOT}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPTED, *arguments],
        cwd=cwd,
        env={**PLAIN, **settings, **variables},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    with suppress(OSError):  # Linux says so when the other side has closed
        while block := os.read(ours, 65536):
            drawn += block
    os.close(ours)
    assert process.wait() == 0, drawn.decode()
    return drawn.decode()


def test_a_terminal_gets_colour_a_bar_and_lines_that_fit(tmp_path: Path, jfk: Path) -> None:
    arguments = ("transcribe", str(jfk), "-f", "txt", "--impl", "cpu")
    drawn = on_a_terminal(*arguments, cwd=tmp_path)
    assert "\x1b[36m[00:00.000 --> 00:01.000]\x1b[0m" in drawn
    assert "\u2501" in drawn, "a bar"
    assert "loading turbo on cpu" in drawn
    assert "0:11/0:11" in drawn
    visible = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert max(len(line) for line in re.split(r"[\r\n]+", visible)) <= 60


def test_a_batch_of_files_has_one_live_line(tmp_path: Path, jfk: Path) -> None:
    (tmp_path / "second.wav").write_bytes(jfk.read_bytes())
    arguments = ("transcribe", str(jfk), "second.wav", "-f", "txt", "--batch-size", "4")
    drawn = on_a_terminal(*arguments, cwd=tmp_path)
    assert "2 files" in drawn
    assert re.search(r"\d done  0:22  \d+\.\dx", drawn)
    assert drawn.count("[00:00.000 --> 00:01.000]") == 2


def test_no_color_is_respected(tmp_path: Path, jfk: Path) -> None:
    drawn = on_a_terminal("transcribe", str(jfk), "-f", "txt", cwd=tmp_path, NO_COLOR="1")
    assert "[00:00.000 --> 00:01.000]" in drawn
    assert re.findall(r"\x1b\[(?:[0-9]+;)*(?:3|4|9)[0-9](?:;[0-9]+)*m", drawn) == []


def test_ctrl_c_stops_cleanly_and_leaves_finished_files(jfk: Path, tmp_path: Path) -> None:
    endless = """
import itertools, signal, time, maxwhisper_cli.model
from maxwhisper_cli.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from tests.support.fake_models import SPOKEN, FakeModels, says
fakes = FakeModels()
speaking, n_windows = says(SPOKEN, fakes.dims), itertools.count()
fakes.script = lambda request: time.sleep(60 * min(1, next(n_windows))) or speaking(request)
maxwhisper_cli.model.load = fakes.load
main()
"""
    (tmp_path / "second.wav").write_bytes(jfk.read_bytes())
    with subprocess.Popen(
        [sys.executable, "-c", endless, "transcribe", str(jfk), "second.wav", "-f", "txt"],
        cwd=tmp_path,
        env={**PLAIN, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "[00:00.000 --> 00:01.000] Grüße, 世界.\n".encode()
        assert b"wrote jfk.txt" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert b"Ctrl-C again stops at once" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert b"Traceback" not in rest
    assert rest.endswith(b"error: stopped\n")
    assert process.returncode == 130
    written = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert written == {"jfk.txt", "second.wav"}


def test_python_m_runs_nothing_of_the_current_folder(tmp_path: Path) -> None:
    for name in ("typing", "pathlib", "signal", "enum", "numpy", "torch", "rich"):  # not runpy's
        (tmp_path / f"{name}.py").write_text("open('RAN', 'w').write(__name__)\n")
    done = subprocess.run(
        [*COMMAND, "--version"],
        cwd=tmp_path,
        env={**PLAIN, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert not (tmp_path / "RAN").exists()


def test_a_keyboard_is_no_recording(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*COMMAND, "transcribe", "-"], stdin=theirs, capture_output=True, cwd=tmp_path, check=False
    )
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"error: - is standard input: pipe a recording into it\n"
