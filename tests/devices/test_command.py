"""`transcribe --device a,b`: one device's bytes, on real speech and with scripted processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).parents[2]
N_FILES = 12
"""Files of a run that is stopped, on a slow device, which has one waiting too, and a fast one."""
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
REAL = """
import signal
from maxwhisper_cli.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
"""
SCRIPTED = (
    REAL
    + """
from pathlib import Path
import maxwhisper_cli.devices.load as load
from tests.devices.scripted_device import ScriptedLoad
load.loads_of = lambda devices, arguments, n_threads: [
    (device, ScriptedLoad(f"{device}-{i}", Path("log"), seconds=(0.9, 0.1)[i]))
    for i, device in enumerate(devices)
]
"""
)


def start(program: str, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", f"{program}\nmain()", "transcribe", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def end(process: "subprocess.Popen[str]", code: int) -> str:
    error = process.communicate(timeout=120)[1]
    assert process.returncode == code, error
    assert "Traceback" not in error
    return error


def device_processes(process: "subprocess.Popen[str]") -> list[int]:
    """The processes of a command's devices."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    commands = {each: Path(f"/proc/{each}/cmdline").read_bytes() for each in children}
    return [each for each, line in commands.items() if b"devices.process" in line]


def wait_for(folder: Path, pattern: str, n_files: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(folder.glob(pattern))) < n_files:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


def copies(recording: Path, folder: Path, n: int) -> Sequence[str]:
    """Recordings of other lengths, since resuming knows equal ones."""
    samples, rate = soundfile.read(recording)
    names = [f"{i}.wav" for i in range(n)]
    for i, name in enumerate(names):
        soundfile.write(folder / name, samples[: len(samples) - 100 * i], rate)
    return names


@pytest.mark.max
def test_two_processes_with_one_killed_write_the_bytes_of_one(jfk: Path, tmp_path: Path) -> None:
    """Real models in real processes: 6 s of processor time, most of it for three starts."""
    names = [*copies(jfk, tmp_path, 6), "bad.wav"]
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    options = ["--model", "tiny.en", "--impl", "full-max", "--dtype", "float32", "--beam-size", "1"]
    end(start(REAL, tmp_path, *names, *options, "-o", "one"), 1)
    command = start(REAL, tmp_path, *names, *options, "-o", "two", "--device", "cpu,cpu")
    wait_for(tmp_path, "two/*.json", 1)
    processes = device_processes(command)
    os.kill(processes[0], signal.SIGKILL)
    error = end(command, 1)
    assert len(files(tmp_path / "one")) == 30
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert "cpu (process 1) failed: its process was ended by SIGKILL" in error
    assert "error: bad.wav is not audio" in error
    assert not any(Path(f"/proc/{each}").exists() for each in processes)


def test_ctrl_c_finishes_what_is_under_way_and_resuming_does_the_rest(
    jfk: Path, tmp_path: Path
) -> None:
    names = copies(jfk, tmp_path, N_FILES)
    arguments = [*names, "--model", "tiny.en", "-o", "out", "-f", "txt", "--device", "cpu,cpu"]
    command = start(SCRIPTED, tmp_path, *arguments)
    wait_for(tmp_path, "out/*.txt", 1)
    processes = device_processes(command)
    assert len(processes) == 2
    command.send_signal(signal.SIGINT)
    error = end(command, 130)
    assert "finishing what is under way; Ctrl-C again stops at once" in error
    n_done = len(files(tmp_path / "out"))
    assert 0 < n_done < N_FILES
    assert f"error: {N_FILES - n_done} of {N_FILES} files are left to do" in error
    assert not any(Path(f"/proc/{each}").exists() for each in processes)
    error = end(start(SCRIPTED, tmp_path, *arguments, "--resume"), 0)
    assert f"{n_done} of {N_FILES} files are done already" in error
    assert len(files(tmp_path / "out")) == N_FILES


def test_a_second_ctrl_c_and_a_killed_parent_leave_no_process(jfk: Path, tmp_path: Path) -> None:
    names = copies(jfk, tmp_path, N_FILES)
    arguments = [*names, "--model", "tiny.en", "-o", "out", "-f", "txt", "--device", "cpu,cpu"]
    for is_killed in (False, True):
        command = start(SCRIPTED, tmp_path, *arguments, "--force")
        wait_for(tmp_path, "log", 1)
        processes = device_processes(command)
        if is_killed:
            command.kill()
        else:
            command.send_signal(signal.SIGINT)
            time.sleep(0.1)
            command.send_signal(signal.SIGINT)
        end(command, -signal.SIGKILL if is_killed else 130)
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{each}").exists() for each in processes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (tmp_path / "log").unlink()
