"""The truth about each GPU, on made-up machines: what CUDA and NVML say, and the line a user gets.

Each case sets what the two libraries return where the machine is as its name says; NVIDIA's
documents and threads of users are the source of the codes.
"""

from dataclasses import replace

import pytest

from implementations import cuda_driver, devices, gpu_faults, nvidia, nvml, registry
from implementations.cuda_driver import CudaGpu, CudaView
from implementations.nvml import NvmlGpu, NvmlReport, NvmlSlice
from implementations.torch_build import TorchBuild
from tests.support.fake_gpus import (
    A100,
    GTX_1080,
    H200,
    RTX_4090,
    SLICE,
    T4,
    FakeGpus,
    cuda_gpu,
)


def no_gpu(fake: FakeGpus, status: int | None, error: int | None = None) -> str:
    """The reason after these results of cuInit and nvmlInit."""
    fake.view, fake.report = CudaView(status, 13000), NvmlReport(error)
    return str(nvidia.no_gpu_because())


def test_no_driver(fake_gpus: FakeGpus) -> None:
    assert no_gpu(fake_gpus, None) == "no NVIDIA driver (libcuda.so.1) on this machine"


def test_a_container_without_the_drivers_library(fake_gpus: FakeGpus) -> None:
    fake_gpus.files = {gpu_faults.KERNEL_DRIVER, gpu_faults.CONTAINER_MARKS[0]}
    assert no_gpu(fake_gpus, None).endswith(
        "start the container with the GPUs (docker run --gpus all)"
    )
    fake_gpus.files = {gpu_faults.KERNEL_DRIVER}
    assert "install the driver's libraries" in no_gpu(fake_gpus, None)


def test_wsl_takes_the_driver_of_windows(fake_gpus: FakeGpus) -> None:
    fake_gpus.release = "5.15.153.1-microsoft-standard-WSL2"
    assert "install the driver in Windows, nothing in WSL" in no_gpu(fake_gpus, None)
    fake_gpus.plug_in(RTX_4090, driver="551.86", version=12040)
    assert "update it in Windows, not in WSL" in str(nvidia.no_max_gpu_because())


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (cuda_driver.VERSION_MISMATCH, nvml.VERSION_MISMATCH, "different versions"),
        (999, nvml.VERSION_MISMATCH, "different versions, as after an update; restart"),
        (cuda_driver.SYSTEM_NOT_READY, None, "start the service nvidia-fabricmanager"),
        (cuda_driver.COMPATIBILITY_REFUSED, None, "remove cuda-compat"),
        (cuda_driver.NO_DEVICE, nvml.DRIVER_NOT_LOADED, "not loaded; try modprobe nvidia"),
        (cuda_driver.NO_DEVICE, nvml.NO_PERMISSION, "see the rights of /dev/nvidia*"),
        (cuda_driver.NO_DEVICE, None, "the NVIDIA driver finds no GPU; see nvidia-smi"),
        (999, None, "does not answer (CUDA error 999); see nvidia-smi"),
    ],
)
def test_a_driver_that_fails(
    fake_gpus: FakeGpus, status: int, error: int | None, expected: str
) -> None:
    assert expected in no_gpu(fake_gpus, status, error)


@pytest.mark.parametrize("error", [None, nvml.DRIVER_NOT_LOADED])
def test_a_container_without_devices(fake_gpus: FakeGpus, error: int | None) -> None:
    fake_gpus.files = {gpu_faults.CONTAINER_MARKS[1]}
    assert "docker run --gpus all" in no_gpu(fake_gpus, cuda_driver.NO_DEVICE, error)


@pytest.mark.parametrize("value", ["", "-1"])
def test_all_gpus_are_hidden(
    fake_gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    fake_gpus.plug_in(RTX_4090, A100)
    fake_gpus.hide()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert nvidia.no_gpu_because() == (
        f"CUDA_VISIBLE_DEVICES={value} hides all GPUs (0: NVIDIA GeForce RTX 4090, GPU-0000,"
        " 1: NVIDIA A100-SXM4-80GB, GPU-0001); unset it, or name one"
    )


@pytest.mark.parametrize("value", ["2", "gpu0", "GPU-ffff", "GPU-", "MIG-0000", "nonsense,0"])
def test_a_variable_that_names_no_gpu(
    fake_gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    fake_gpus.plug_in(RTX_4090, A100)
    fake_gpus.hide()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    reason = str(nvidia.no_gpu_because())
    assert reason.startswith(f"CUDA_VISIBLE_DEVICES={value} begins with none of this machine's")
    assert reason.endswith("unset it, or name one by its number or UUID")


@pytest.mark.parametrize("value", ["1", "GPU-0001", "GPU-00"])
def test_a_variable_that_names_a_gpu_is_not_blamed(
    fake_gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    fake_gpus.plug_in(RTX_4090, A100)
    fake_gpus.hide()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert "CUDA_VISIBLE_DEVICES" not in str(nvidia.no_gpu_because())


def test_some_gpus_are_hidden(fake_gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus.plug_in(RTX_4090, H200)
    fake_gpus.hide(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,x,0")
    assert nvidia.no_gpu_because() is None
    assert nvidia.architecture("cuda:0") == "sm_90a"
    assert nvidia.no_max_gpu_because("cuda:1") == (
        "there is no cuda:1; the only GPU is cuda:0, since CUDA_VISIBLE_DEVICES=1,x,0 hides"
        " others of the machine"
    )
    states = devices.device_states()
    assert [state.device for state in states] == ["cpu", "cuda:0", None]
    assert states[2].max_graphs == "hidden by CUDA_VISIBLE_DEVICES=1,x,0"


def test_a_gpu_that_is_not_there(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(H200, H200)
    for why in (nvidia.no_max_gpu_because, nvidia.no_torch_gpu_because):
        assert why("cuda:7") == "there is no cuda:7; the last of 2 GPUs is cuda:1"
        assert why("gpu") == "gpu is no NVIDIA GPU; use cuda or cuda:N"


def test_a_gpu_that_has_fallen_off_the_bus(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(H200, H200)
    lost = NvmlGpu(1, error=nvml.GPU_IS_LOST)
    fake_gpus.report = replace(fake_gpus.report, gpus=(fake_gpus.report.gpus[0], lost))
    fake_gpus.hide(0)
    fallen = "GPU 1 of this machine has fallen off the bus; restart the machine"
    assert fallen in str(nvidia.no_max_gpu_because("cuda:1"))
    assert fallen in devices.device_states()[-1].max_graphs
    fake_gpus.report = replace(fake_gpus.report, gpus=(lost,))
    fake_gpus.view = CudaView(999, 13000)
    assert fallen in str(nvidia.no_gpu_because())
    lost = NvmlGpu(1, error=nvml.RESET_REQUIRED)
    fake_gpus.report = replace(fake_gpus.report, gpus=(lost,))
    assert "needs a reset: nvidia-smi --gpu-reset" in str(nvidia.no_gpu_because())


def test_slices(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(SLICE)
    whole = NvmlGpu(0, "NVIDIA H100 80GB HBM3", "GPU-1", 9, 0, has_mig_mode=True)
    parts = NvmlSlice("MIG-0000", 10 * 2**30, 9 * 2**30), NvmlSlice("MIG-0009")
    fake_gpus.report = replace(fake_gpus.report, gpus=(replace(whole, slices=parts),))
    used = devices.device_states()[1]
    assert (used.device, used.free_bytes) == ("cuda:0", 9 * 2**30)
    assert used.max_graphs == devices.UNCONFIRMED
    assert "CUDA gives a process one slice" in str(nvidia.no_max_gpu_because("cuda:1"))
    fake_gpus.view = CudaView(cuda_driver.NO_DEVICE, 13000)
    fake_gpus.report = replace(fake_gpus.report, gpus=(whole,))
    no_slice = "GPU 0 (NVIDIA H100 80GB HBM3) is in MIG mode and has no slice; make one with"
    assert no_slice in str(nvidia.no_gpu_because())


def test_a_slice_by_its_name(fake_gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = NvmlGpu(
        0, "NVIDIA H100", "GPU-1", 9, 0, has_mig_mode=True, slices=(NvmlSlice("MIG-9"),)
    )
    fake_gpus.view = CudaView(cuda_driver.NO_DEVICE, 13000)
    fake_gpus.report = NvmlReport(None, "580.1", (whole,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-8")
    assert "(0: NVIDIA H100, GPU-1, slice MIG-9)" in str(nvidia.no_gpu_because())
    for name in ("MIG-9", "0:0", "0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", name)
        assert "CUDA_VISIBLE_DEVICES" not in str(nvidia.no_gpu_because())


@pytest.mark.parametrize("gpu", [GTX_1080, T4, cuda_gpu("NVIDIA TITAN V", (7, 0))])
def test_gpus_before_ampere(fake_gpus: FakeGpus, gpu: CudaGpu) -> None:
    fake_gpus.plug_in(gpu)
    assert nvidia.no_max_gpu_because() == (
        f"{gpu.name} (cuda:0, {gpu.architecture}) is older than the MAX graphs are written for,"
        " Ampere (2020) and newer; use --impl cuda or --device cpu"
    )
    assert nvidia.no_torch_gpu_because() is None
    fake_gpus.torch = TorchBuild("2.13.0", (13, 0))
    is_refused = gpu is not T4
    assert ("install torch for CUDA 12.6" in str(nvidia.no_torch_gpu_because())) is is_refused


@pytest.mark.parametrize(
    ("gpu", "target"),
    [
        (A100, "sm_80"),
        (RTX_4090, "sm_80"),  # code for 8.0 runs on 8.9
        (H200, "sm_90a"),
        (cuda_gpu("NVIDIA GeForce RTX 5090", (12, 0)), "sm_120a"),
        (cuda_gpu("NVIDIA GB10", (12, 1)), None),  # code for 12.0a does not run on 12.1
        (cuda_gpu("NVIDIA B200", (10, 0)), "sm_100a"),
        (cuda_gpu("NVIDIA B300", (10, 3)), None),
        (T4, None),
    ],
)
def test_the_code_that_runs_on_a_gpu(fake_gpus: FakeGpus, gpu: CudaGpu, target: str | None) -> None:
    fake_gpus.plug_in(gpu)
    assert nvidia.target_architecture(gpu) == target
    assert nvidia.architecture("cuda") == (target or gpu.architecture)
    reason = nvidia.no_max_gpu_because()
    assert (reason is None) is (target is not None)
    if gpu.major > 8 and target is None:
        assert "that the MAX graphs are compiled for: sm_80, sm_90a, sm_100a, sm_120a;" in str(
            reason
        )


def test_an_old_driver(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(H200, driver="535.104.05", version=12020)
    assert nvidia.no_max_gpu_because() == (
        "NVIDIA driver 535.104.05 is too old for MAX, which needs 580 or newer; update it, or use"
        " --impl cuda"
    )
    assert nvidia.no_torch_gpu_because() is None
    fake_gpus.torch = TorchBuild("2.13.0", (13, 0))
    assert nvidia.no_torch_gpu_because() == (
        "torch 2.13.0 is built for CUDA 13.0, and NVIDIA driver 535.104.05 has CUDA 12.2; update"
        " it, or install torch for CUDA 12"
    )
    fake_gpus.report = NvmlReport(nvml.LIBRARY_NOT_FOUND)  # as on a Jetson
    assert "the NVIDIA driver (CUDA 12020) is too old" in str(nvidia.no_max_gpu_because())


def test_torch_without_cuda(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(H200)
    fake_gpus.torch = TorchBuild("2.13.0+cpu", None)
    assert "torch 2.13.0+cpu is built without CUDA" in str(nvidia.no_torch_gpu_because())
    fake_gpus.torch = None
    assert nvidia.no_torch_gpu_because() is None  # unknown: torch will say


def test_gpus_of_different_kinds(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(GTX_1080, RTX_4090, H200)
    states = {state.device: state for state in devices.device_states()}
    assert "is older than the MAX graphs" in states["cuda:0"].max_graphs
    assert states["cuda:1"].max_graphs == "compiled for, not yet confirmed"
    assert states["cuda:2"].max_graphs == "tested"
    assert [states[f"cuda:{n}"].torch for n in range(3)] == ["yes", "yes", "tested"]
    assert states["cuda:1"].free_bytes == states["cuda:1"].memory_bytes // 2  # type: ignore[operator]
    assert registry.default_device("full-max") == "cuda:1"  # the first that it can use
    assert registry.default_device("cuda") == "cuda"


def test_without_a_gpu_the_reason_is_listed(fake_gpus: FakeGpus) -> None:
    processor, none = devices.device_states()
    assert (processor.device, processor.max_graphs) == ("cpu", "tested")
    assert (none.device, none.max_graphs) == (None, nvidia.no_gpu_because())
    fake_gpus.plug_in(H200)
    fake_gpus.view = CudaView(cuda_driver.SYSTEM_NOT_READY, 13000)
    assert "nvidia-fabricmanager" in devices.device_states()[1].torch
