"""Machines with made-up GPUs: what CUDA lists for this process, and what NVML says of them all."""

import platform
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from implementations import cuda_driver, gpu_faults, nvidia, nvml
from implementations.cuda_driver import CudaGpu, CudaView
from implementations.nvml import NvmlGpu, NvmlReport
from implementations.torch_build import TorchBuild

NO_GPU_BECAUSE = nvidia.no_gpu_because
"""The function itself, which other tests replace."""

MEMORY = 24 * 2**30


def cuda_gpu(name: str = "NVIDIA H200", capability: tuple[int, int] = (9, 0)) -> CudaGpu:
    return CudaGpu(0, name, *capability, "", MEMORY)


H200 = cuda_gpu()
RTX_4090 = cuda_gpu("NVIDIA GeForce RTX 4090", (8, 9))
A100 = cuda_gpu("NVIDIA A100-SXM4-80GB", (8, 0))
T4 = cuda_gpu("Tesla T4", (7, 5))
GTX_1080 = cuda_gpu("NVIDIA GeForce GTX 1080", (6, 1))
SLICE = cuda_gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb")


def nvml_gpu(gpu: CudaGpu) -> NvmlGpu:
    """The same GPU as NVML lists it."""
    free = gpu.memory_bytes // 2
    facts = gpu.name, gpu.uuid, gpu.major, gpu.minor, gpu.memory_bytes, free
    return NvmlGpu(gpu.index, *facts)


@dataclass
class FakeGpus:
    """A machine; `plug_in` makes CUDA and NVML list the same GPUs."""

    view: CudaView = field(default_factory=lambda: CudaView(None))
    report: NvmlReport = field(default_factory=lambda: NvmlReport(nvml.LIBRARY_NOT_FOUND))
    torch: TorchBuild | None = field(default_factory=lambda: TorchBuild("2.13.0", (12, 8)))
    release: str = "6.8.0-generic"
    files: set[Path] = field(default_factory=set)
    """Files that are there, of those that tell a container or a driver in the kernel."""

    def plug_in(self, *gpus: CudaGpu, driver: str = "580.65.06", version: int = 13000) -> None:
        plugged = tuple(
            replace(gpu, index=i, uuid=f"{'MIG' if gpu.is_slice else 'GPU'}-{i:04}")
            for i, gpu in enumerate(gpus)
        )
        self.view = CudaView(0, version, plugged)
        self.report = NvmlReport(None, driver, tuple(map(nvml_gpu, plugged)))

    def hide(self, *shown: int) -> None:
        """Leaves CUDA these GPUs alone, in this order; NVML sees them all."""
        kept = tuple(replace(self.view.gpus[old], index=new) for new, old in enumerate(shown))
        self.view = CudaView(0 if kept else cuda_driver.NO_DEVICE, self.view.version, kept)


@pytest.fixture
def fake_gpus(monkeypatch: pytest.MonkeyPatch) -> FakeGpus:
    """A machine without a driver, at first."""
    fake = FakeGpus()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(nvidia, "no_gpu_because", NO_GPU_BECAUSE)
    monkeypatch.setattr(cuda_driver, "read_cuda", lambda: fake.view)
    monkeypatch.setattr(nvml, "read_nvml", lambda: fake.report)
    monkeypatch.setattr(nvidia, "torch_build", lambda: fake.torch)
    monkeypatch.setattr(platform, "release", lambda: fake.release)
    exists = Path.exists
    marks = {gpu_faults.KERNEL_DRIVER, *gpu_faults.CONTAINER_MARKS}
    monkeypatch.setattr(
        Path, "exists", lambda path: path in fake.files if path in marks else exists(path)
    )
    return fake
