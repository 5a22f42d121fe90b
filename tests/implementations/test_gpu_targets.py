"""Targets by name of architecture and of GPU, and the switch between kernels on Hopper."""

import pytest

from implementations.gpu_targets import (
    ARCHITECTURES,
    KERNELS_SWITCH,
    compiled_architecture,
    parse_target,
    target_of,
)
from implementations.max_graph.request import has_portable_kernels


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("cuda:sm_89", "sm_80"),
        ("cuda:sm_90a+portable", "sm_90a+portable"),
        ("A100", "sm_80"),
        ("NVIDIA A100-SXM4-80GB", "sm_80"),
        ("NVIDIA A10", "sm_80"),
        ("RTX 3090 Ti", "sm_80"),
        ("NVIDIA RTX A6000", "sm_80"),
        ("rtx4090", "sm_80"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "sm_80"),
        ("NVIDIA RTX 6000 Ada Generation", "sm_80"),
        ("L4", "sm_80"),
        ("NVIDIA H100 80GB HBM3", "sm_90a"),
        ("H200", "sm_90a"),
        ("NVIDIA B200", "sm_100a"),
        ("NVIDIA GeForce RTX 5090 Laptop GPU", "sm_120a"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "sm_120a"),
    ],
)
def test_names_of_targets(name: str, architecture: str) -> None:
    assert parse_target(name) == f"cuda:{architecture}"


@pytest.mark.parametrize("name", ["", "cuda", "cuda:sm_75", "GTX 1080", "Tesla T4", "RTX", "GPU"])
def test_other_names_are_not_known(name: str) -> None:
    assert parse_target(name) is None


def test_hopper_alone_has_kernels_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KERNELS_SWITCH, raising=False)
    targets = {name: target_of(name) for name in ARCHITECTURES}
    assert targets == {name: f"cuda:{name}" for name in ARCHITECTURES}
    assert [name for name in ARCHITECTURES if not has_portable_kernels(targets[name])] == ["sm_90a"]


def test_the_switch_gives_hopper_the_portable_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KERNELS_SWITCH, "portable")
    assert target_of("sm_90a") == "cuda:sm_90a+portable"
    assert has_portable_kernels(target_of("sm_90a"))
    assert target_of("sm_89") == "cuda:sm_80"


@pytest.mark.parametrize(
    ("architecture", "compiled"),
    [
        *((f"sm_8{minor}", "sm_80") for minor in (0, 6, 7, 9)),
        ("sm_90a", "sm_90a"),
        ("sm_100a", "sm_100a"),
        ("sm_103a", None),
        ("sm_120a", "sm_120a"),
        ("sm_121a", None),
        ("sm_75", None),
        ("sm_61", None),
        ("None", None),
        ("", None),
    ],
)
def test_code_runs_on_later_minor_versions_unless_it_has_a_letter(
    architecture: str, compiled: str | None
) -> None:
    assert compiled_architecture(architecture) == compiled
