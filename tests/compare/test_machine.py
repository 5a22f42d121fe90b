"""Facts about the machine; a script called nvidia-smi stands in for an NVIDIA GPU."""

import dataclasses
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from maxwhisper_cli.compare.machine import (
    describe_machine,
    gpu_memory_in_use_mib,
    own_gpu_memory_mib,
    peak_memory_mib,
)

APPS = f"1, 4000\\n{os.getpid()}, 600\\n{os.getpid()}, 50\\n"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "nvidia-smi"
    script.write_text(
        '#!/bin/sh\ncase "$1" in\n'
        "  --query-gpu=memory.used) echo 100; echo 23; echo '[N/A]' ;;\n"
        f"  --query-compute-apps=*) printf '{APPS}' ;;\n"
        "  *) echo 'Some GPU, 24564, 580.1' ;;\nesac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return script


def test_the_machine_is_described(nvidia_smi: Path) -> None:
    machine = describe_machine()
    assert nvidia_smi.is_file()
    assert machine.cpu
    assert machine.n_cpus >= 1
    assert machine.memory_mib > 100
    assert machine.python == platform.python_version()
    assert machine.gpus == ("Some GPU, 24564, 580.1",)
    assert machine.packages["numpy"] == importlib.metadata.version("numpy")


def test_gpu_memory_is_that_of_all_gpus(nvidia_smi: Path) -> None:
    assert nvidia_smi.is_file()
    assert gpu_memory_in_use_mib() == 123.0


def test_own_gpu_memory_is_that_of_this_process(nvidia_smi: Path) -> None:
    assert own_gpu_memory_mib(23.0) == 650.0
    for known in ("[N/A]", ""):
        nvidia_smi.write_text(nvidia_smi.read_text().replace(APPS, f"{os.getpid()}, {known}\\n"))
        assert own_gpu_memory_mib(23.0) == 100.0  # what all have taken since


def test_a_damaged_installation_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = SimpleNamespace(metadata=None), SimpleNamespace(metadata={"Name": None})
    monkeypatch.setattr("importlib.metadata.distributions", lambda: damaged)
    assert describe_machine().packages == {}


@pytest.mark.parametrize("answer", ["exit 9", "true"])
def test_a_driver_that_does_not_answer_is_no_gpu(nvidia_smi: Path, answer: str) -> None:
    nvidia_smi.write_text(f"#!/bin/sh\n{answer}\n")
    assert gpu_memory_in_use_mib() is None
    assert describe_machine().gpus == ()


def test_no_driver_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory_in_use_mib() is None


def test_busy_is_more_than_half_of_the_processors() -> None:
    machine = dataclasses.replace(describe_machine(), n_cpus=4, load_average=2.5)
    assert machine.is_busy
    assert not dataclasses.replace(machine, load_average=1.5).is_busy


def test_peak_memory_is_the_programs_own() -> None:
    big = bytearray(200 * 2**20)  # the parent's peak, which a child must not begin with
    big[::4096] = b"x" * len(big[::4096])
    assert peak_memory_mib() > 200
    code = (
        "from maxwhisper_cli.compare.machine import peak_memory_mib as peak; "
        "before = peak(); big = b'x' * (80 * 2**20); del big; print(before, peak())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before < 100
    assert after > before + 70
