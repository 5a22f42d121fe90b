"""Default devices of implementations, on made-up machines."""

import platform

import pytest

from implementations import cuda_driver, registry
from implementations.cuda_driver import CudaGpu
from implementations.torch_build import TorchBuild
from tests.support.fake_gpus import GTX_1080, H200, FakeGpus


@pytest.mark.parametrize(
    ("device", "index"),
    [
        ("cuda", 0),
        ("cuda:0", 0),
        ("cuda:11", 11),
        ("cuda:x", None),
        ("cuda:-1", None),
        ("cpu", None),
    ],
)
def test_a_gpu_has_a_number(device: str, index: int | None) -> None:
    assert cuda_driver.gpu_index(device) == index


@pytest.mark.parametrize(
    ("gpus", "torch", "devices"),
    [
        ([], "2.13.0", ["cpu", "cuda", "cpu", "cpu"]),
        ([H200], "2.13.0", ["cpu", "cuda", "cuda", "cuda"]),
        ([H200], "2.13.0+cpu", ["cpu", "cuda", "cpu", "cuda"]),
        ([GTX_1080], "2.13.0", ["cpu", "cuda", "cpu", "cpu"]),
        ([GTX_1080, H200], "2.13.0", ["cpu", "cuda", "cuda:1", "cuda:1"]),
    ],
)
def test_default_device(
    fake_gpus: FakeGpus, gpus: list[CudaGpu], torch: str, devices: list[str]
) -> None:
    fake_gpus.plug_in(*gpus)
    fake_gpus.torch = TorchBuild(torch, None if "cpu" in torch else (12, 8))
    assert registry.names() == ("cpu", "cuda", "hybrid", "full-max")
    assert [registry.default_device(name) for name in registry.names()] == devices


@pytest.mark.parametrize(
    ("gpus", "target"), [([H200, H200], "cuda:sm_90a"), ([H200, GTX_1080], None), ([], None)]
)
def test_compile_target(fake_gpus: FakeGpus, gpus: list[CudaGpu], target: str | None) -> None:
    fake_gpus.plug_in(*gpus)
    assert registry.compile_target("cpu") == "host"
    assert registry.compile_target("cuda:1") == target


def test_a_processor_that_the_graphs_do_not_run_on(
    fake_gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    reason = registry.unavailable_because("full-max")
    assert reason == (
        "the MAX graphs for CPUs are written and tested for Linux on x86-64, and this is Linux on"
        " aarch64; use --impl cpu"
    )
    assert registry.unavailable_because("cpu") is None
    fake_gpus.plug_in(H200)  # as in a machine with Grace and Hopper
    assert registry.unavailable_because("full-max") is None
