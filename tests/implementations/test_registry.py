"""Default devices of implementations, on made-up machines."""

import pytest

from implementations import nvidia, registry


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
    assert nvidia.gpu_index(device) == index


@pytest.mark.parametrize(
    ("architecture", "torch_lacks", "devices"),
    [
        (None, "no GPU", ["cpu", "cuda", "cpu", "cpu"]),
        ("sm_90a", None, ["cpu", "cuda", "cuda", "cuda"]),
        ("sm_90a", "built without CUDA", ["cpu", "cuda", "cpu", "cuda"]),
        ("sm_80", None, ["cpu", "cuda", "cpu", "cpu"]),
    ],
)
def test_default_device(
    monkeypatch: pytest.MonkeyPatch,
    architecture: str | None,
    torch_lacks: str | None,
    devices: list[str],
) -> None:
    monkeypatch.setattr(nvidia, "no_gpu_because", lambda: None if architecture else "no GPU")
    monkeypatch.setattr(nvidia, "architecture", lambda _: architecture)
    monkeypatch.setattr(nvidia, "no_torch_gpu_because", lambda _: torch_lacks)
    assert registry.names() == ("cpu", "cuda", "hybrid", "full-max")
    assert [registry.default_device(name) for name in registry.names()] == devices


@pytest.mark.parametrize(
    ("architecture", "target"), [("sm_90a", "cuda:sm_90a"), ("sm_80", None), (None, None)]
)
def test_compile_target(
    monkeypatch: pytest.MonkeyPatch, architecture: str | None, target: str | None
) -> None:
    monkeypatch.setattr(nvidia, "architecture", lambda _: architecture)
    assert registry.compile_target("cpu") == "host"
    assert registry.compile_target("cuda:1") == target
