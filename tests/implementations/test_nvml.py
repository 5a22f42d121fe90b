"""Reading of NVML through NVIDIA's binding, whose functions are made up here."""
# ruff: noqa: N802  (NVML's own names)

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from implementations import nvml


class FakeError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class FakeNvml:
    """The module `pynvml` on a machine of four GPUs, each of another kind."""

    NVMLError = FakeError
    init_error = 0
    is_open = False

    def nvmlInit(self) -> None:
        if self.init_error:
            raise FakeError(self.init_error)
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"535.104.05"  # older bindings return bytes

    def nvmlDeviceGetCount(self) -> int:
        return 4

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        if index == 2:
            raise FakeError(nvml.GPU_IS_LOST)
        return f"gpu{index}"

    def nvmlDeviceGetName(self, handle: str) -> str:
        return f"NVIDIA {handle}"

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:
        return (9, 0) if handle == "gpu1" else (8, 6)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        if handle == "gpu0":
            raise FakeError(3)  # not supported: it shares the host's memory
        if handle == "gpu3":
            raise FakeError(nvml.RESET_REQUIRED)
        return SimpleNamespace(total=80, free=70 if handle == "gpu1" else 9)

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:
        if handle == "gpu1":
            return 1, 1
        raise FakeError(3)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:
        return 3

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:
        if index == 1:
            raise FakeError(6)  # no slice in this place
        return f"slice{index}"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        assert handle != "gpu2"
        used = {"gpu0": 100, "gpu1": 30}.get(handle)  # None as in a container
        return [SimpleNamespace(pid=7, usedGpuMemory=used), SimpleNamespace(pid=8, usedGpuMemory=1)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_each_gpu_says_what_it_has(fake: FakeNvml) -> None:
    report = nvml.read_nvml()
    assert (report.error, report.driver) == (None, "535.104.05")
    shared, sliced, lost, failed = report.gpus
    assert (shared.name, shared.architecture) == ("NVIDIA gpu0", "sm_86")
    assert (shared.memory_bytes, shared.has_mig_mode) == (None, False)
    assert (sliced.architecture, sliced.free_bytes, sliced.has_mig_mode) == ("sm_90a", 70, True)
    assert [part.uuid for part in sliced.slices] == ["GPU-slice0", "GPU-slice2"]
    assert sliced.slices[0].free_bytes == 9
    assert (lost.error, failed.error) == (nvml.GPU_IS_LOST, nvml.RESET_REQUIRED)
    assert not fake.is_open


def test_nvml_that_fails_is_an_error_code(fake: FakeNvml) -> None:
    fake.init_error = nvml.VERSION_MISMATCH
    assert nvml.read_nvml() == nvml.NvmlReport(nvml.VERSION_MISMATCH)
    assert nvml.own_memory_bytes(7) is None


def test_own_memory_is_that_of_all_gpus(fake: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "nvmlDeviceGetHandleByIndex", lambda index: f"gpu{index % 2}")
    assert nvml.own_memory_bytes(7) == 260
    assert nvml.own_memory_bytes(9) is None


def test_without_the_library_it_says_so() -> None:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        assert nvml.read_nvml() == nvml.NvmlReport(nvml.LIBRARY_NOT_FOUND)
    else:
        pynvml.nvmlShutdown()
        pytest.skip("there is an NVIDIA driver here")
