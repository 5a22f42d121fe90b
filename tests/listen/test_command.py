"""`maxwhisper listen` as a user runs it: pipes, lines, JSON, files, Ctrl-C, a narrow terminal."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maxwhisper_cli.app import make_app
from maxwhisper_cli.compare.accuracy import accuracy
from tests.listen.test_transcriber import JFK

COMMAND = (
    "listen",
    "--model",
    "tiny.en",
    "--impl",
    "cpu",
    "--offline",
    "--min-chunk",
    "2",
    "--window-seconds",
    "10",
)
SECONDS = 120
"""Longest time of a command, for a machine that does other things too."""


def start(*arguments: str, **streams: int) -> subprocess.Popen[bytes]:
    """Starts the command; no buffer takes lines that `communicate` would miss."""
    return subprocess.Popen(
        [sys.executable, "-m", "maxwhisper_cli", *COMMAND, *arguments],
        bufsize=0,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": ""},
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}  # type: ignore[call-overload]
        | streams,
    )


def run(*arguments: str, data: bytes = b"") -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(data, timeout=SECONDS)
    return process.returncode, out.decode(), err.decode()


def wrong_words(text: str) -> int:
    wer = accuracy(JFK, text, "en").wer
    assert wer is not None
    return wer.n_errors


def test_a_pipe_becomes_json_lines_and_files(jfk: Path, tmp_path: Path) -> None:
    """One run shows both: JSON on stdout, partial text too, and files beside it."""
    arguments = ("-", "--raw-format", "s16le", "--jsonl", "-f", "srt,txt", "-o", str(tmp_path))
    process = start(*arguments)
    assert process.stdin is not None
    assert process.stdout is not None
    data = jfk.read_bytes()[44:]
    process.stdin.write(data[:83200])  # 2.6 s: more than an update takes
    process.stdin.flush()
    first = process.stdout.readline()
    rest, err = process.communicate(data[83200:], timeout=SECONDS)
    assert process.returncode == 0, err
    events = [json.loads(line) for line in (first + rest).splitlines()]
    assert {*events[0]} == {"start", "end", "text", "is_final", "emitted_at"}
    assert any(not event["is_final"] and event["text"] for event in events)
    final = "".join(event["text"] for event in events if event["is_final"])
    assert wrong_words(final) <= 4  # the pipe stalls within a sentence, which then ends
    written = (tmp_path / "stdin.txt").read_text(encoding="utf-8")
    assert written.split() == final.split()
    assert (tmp_path / "stdin.srt").read_text(encoding="utf-8").startswith("1\n00:00:00,")
    times = [event["emitted_at"] for event in events]
    assert times == sorted(times)


def test_ctrl_c_ends_with_everything_so_far(jfk: Path, tmp_path: Path) -> None:
    """The pipe stays open, as a microphone does."""
    process = start("-", "--raw-format", "s16le", "-f", "txt", "-o", str(tmp_path))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(jfk.read_bytes()[44:])  # its header may be longer: 1 ms of noise
    process.stdin.flush()
    line = process.stdout.readline().decode()  # the first utterance has ended
    assert "fellow Americans" in line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    shown = [line, *out.decode().splitlines()]
    assert all(re.match(r"\[00:\d\d\.\d{3} --> 00:\d\d\.\d{3}\] ", each) for each in shown)
    text = " ".join(each.split("] ", 1)[1].strip() for each in shown)
    assert (tmp_path / "stdin.txt").read_text(encoding="utf-8").split() == text.split()


@pytest.mark.full
def test_a_narrow_terminal(jfk: Path) -> None:
    """Lines of 30 columns: none is longer, and what is left at the end is the finished text."""
    controller, terminal = pty.openpty()
    os.set_blocking(controller, True)
    subprocess.run(["stty", "cols", "30", "rows", "12"], stdin=terminal, check=True)
    process = start("-", stdout=terminal)
    os.close(terminal)
    shown = bytearray()

    def watch() -> None:
        while data := _read(controller):
            shown.extend(data)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stdin is not None
    data = jfk.read_bytes()
    process.stdin.write(data[:83200])  # 2.6 s: more than an update takes
    for _ in range(SECONDS * 10):
        if b"\x1b[90m" in shown:
            break
        time.sleep(0.1)
    _, err = process.communicate(data[83200:], timeout=SECONDS)
    watcher.join(SECONDS)
    os.close(controller)
    assert process.returncode == 0, err
    screen = render(shown.decode(), n_columns=30)
    assert all(len(line) <= 30 for line in screen)
    times = re.compile(r"\[\d\d:\d\d\.\d{3} --> \d\d:\d\d\.\d{3}\]")
    text = times.sub(" ", " ".join(screen))
    assert wrong_words(text) <= 1
    assert "\x1b[90m" in shown.decode()  # partial words were grey


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


def render(written: str, n_columns: int) -> list[str]:
    """Returns the lines of a terminal, of any height, on which this was written."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.|\n", written):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row, lines = row + 1, [*lines, *([""] if row + 1 >= len(lines) else [])]
        elif piece.startswith("\x1b"):
            count = int(re.sub(r"\D", "", piece) or 1)
            if piece.endswith("A"):
                row -= count
            elif piece.endswith("K"):
                lines[row] = ""
        else:
            if column >= n_columns:
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.wav"], 1, "error: missing.wav does not exist"),
        (["--raw-format", "s16le"], 2, "error: --raw-format is for pipes"),
        (["-", "--raw-rate", "8000"], 2, "error: --raw-rate needs --raw-format"),
        (["-", "--policy", "guess"], 2, "error: policy is one of auto, align-att"),
        (["-", "-o", "out"], 2, "error: --output-dir needs --output-format"),
        (["-", "--input-device", "1"], 2, "error: --input-device is a microphone"),
        (["-", "-f", "rttm"], 2, "error: rttm says who speaks"),
        (["-", "--window-seconds", "5"], 2, "'--window-seconds'"),
    ],
)
def test_mistakes_are_sentences(arguments: Sequence[str], code: int, message: str) -> None:
    """They are found before the model is loaded."""
    result = CliRunner().invoke(make_app(), [*COMMAND, *arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


@pytest.mark.full
def test_what_is_no_sound_is_a_sentence() -> None:
    code, out, err = run("-", data=b"no sound " * 999)
    assert (code, out) == (1, "")
    assert "error: standard input is not audio or video" in err
    assert "Traceback" not in err


@pytest.mark.full
def test_a_stalled_pipe_ends_the_utterance(jfk: Path) -> None:
    """The text comes while the pipe is open; in the middle of a sentence it may be wrong."""
    process = start("-", "--raw-format", "s16le")
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(jfk.read_bytes()[44:80000])
        process.stdin.flush()
        assert "american" in process.stdout.readline().decode().lower()
        assert process.poll() is None
        out, err = process.communicate(timeout=SECONDS)
        assert (process.returncode, out) == (0, b""), err
    finally:
        process.kill()
