"""Facts about the machine; its NVIDIA GPUs are made up."""

import dataclasses
import importlib.metadata
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from implementations import nvml
from implementations.nvml import NvmlGpu, NvmlReport
from maxwhisper_cli.compare.machine import (
    describe_machine,
    gpu_memory_in_use_mib,
    own_gpu_memory_mib,
    peak_memory_mib,
)
from tests.support.fake_gpus import H200, RTX_4090, FakeGpus


def test_the_machine_is_described(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(RTX_4090, H200)
    machine = describe_machine()
    assert machine.cpu
    assert machine.n_cpus >= 1
    assert machine.memory_mib > 100
    assert machine.python == platform.python_version()
    assert machine.gpus == (
        "NVIDIA GeForce RTX 4090, 24576, 580.65.06",
        "NVIDIA H200, 24576, 580.65.06",
    )
    assert machine.packages["numpy"] == importlib.metadata.version("numpy")


def test_gpu_memory_is_that_of_all_gpus(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(RTX_4090, H200)
    assert gpu_memory_in_use_mib() == 2 * 12288.0


def test_own_gpu_memory_is_that_of_this_process(
    fake_gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus.plug_in(H200)
    own: dict[int, int] = {os.getpid(): 650 * 2**20}
    monkeypatch.setattr(nvml, "own_memory_bytes", own.get)
    assert own_gpu_memory_mib(23.0) == 650.0
    own.clear()  # as in a container, where the driver lists no processes
    assert own_gpu_memory_mib(288.0) == 12000.0  # what all have taken since
    assert own_gpu_memory_mib(None) is None


def test_a_damaged_installation_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = SimpleNamespace(metadata=None), SimpleNamespace(metadata={"Name": None})
    monkeypatch.setattr("importlib.metadata.distributions", lambda: damaged)
    assert describe_machine().packages == {}


def test_no_driver_is_no_gpu(fake_gpus: FakeGpus) -> None:
    fake_gpus.report = NvmlReport(nvml.LIBRARY_NOT_FOUND)
    assert gpu_memory_in_use_mib() is None
    assert own_gpu_memory_mib(None) is None
    fake_gpus.report = NvmlReport(None, "580.65.06", (NvmlGpu(0, error=nvml.GPU_IS_LOST),))
    assert gpu_memory_in_use_mib() is None
    assert describe_machine().gpus == ()


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
