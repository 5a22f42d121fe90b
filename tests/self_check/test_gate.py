"""The check of a first use: which devices, what is stored, what is refused; one real one here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from implementations import registry
from implementations.cuda_driver import CudaGpu
from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from implementations.options import LoadOptions
from maxwhisper_cli.model import load
from maxwhisper_cli.model_loading import SWITCH
from maxwhisper_cli.self_check import agreement, gate
from tests.support import loaded
from tests.support.fake_gpus import H200, RTX_4090, SLICE, FakeGpus
from tests.support.scripted import ScriptedImplementation, window

ON_GPU = LoadOptions("cuda:0", "float16")
Confirm = Callable[..., list[str]]


class OnGpu(ScriptedImplementation):
    """An implementation called full-max on a GPU."""

    name = "full-max"

    def __init__(self) -> None:
        super().__init__(lambda _: window([]))
        self.device, self.dtype = "cuda:0", "float16"
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def differences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str | None]:
    """Results of the next checks, in an empty cache folder and on a machine with memory."""
    found: list[str | None] = []
    reference: Any = type("Reference", (OnGpu,), {"load": classmethod(lambda cls, *_: cls())})
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path))
    monkeypatch.setattr(gate, "find_difference", lambda *_: found.pop(0))
    monkeypatch.setattr(registry, "implementation_class", lambda _: reference)
    monkeypatch.setattr(gate, "available_bytes", lambda: 10**10)
    return found


def confirm(implementation: OnGpu | None = None, model: str = "tiny.en") -> list[str]:
    """Lines for the user."""
    lines: list[str] = []
    checkpoint = loaded.checkpoint(model)
    gate.confirm(implementation or OnGpu(), checkpoint, ON_GPU, lines.append)
    return lines


def test_a_confirmed_gpu_is_not_checked(fake_gpus: FakeGpus, differences: list[str | None]) -> None:
    fake_gpus.plug_in(H200)
    assert confirm() == []
    cpu = OnGpu()
    cpu.device = "cpu"
    assert confirm(cpu) == []


@pytest.mark.parametrize("gpu", [RTX_4090, SLICE])
def test_another_one_is_checked_once(
    fake_gpus: FakeGpus, differences: list[str | None], gpu: CudaGpu, tmp_path: Path
) -> None:
    fake_gpus.plug_in(gpu)
    differences.append(None)
    first = confirm()
    assert first == [
        f"checking full-max on {gpu.name} against the CPU, once for models of these sizes"
    ]
    assert confirm() == []
    (stored,) = (tmp_path / "confirmed").iterdir()
    record = json.loads(stored.read_text())
    assert (record["gpu"], record["driver"], record["difference"]) == (gpu.name, "580.65.06", None)


def test_what_may_change_a_result_asks_for_another_check(
    fake_gpus: FakeGpus, differences: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_checked() -> bool:
        differences[:] = [None]
        return bool(confirm())

    fake_gpus.plug_in(RTX_4090)
    assert [is_checked(), is_checked()] == [True, False]
    fake_gpus.plug_in(RTX_4090, driver="590.1")
    assert [is_checked(), is_checked()] == [True, False]
    fake_gpus.plug_in(SLICE)
    assert [is_checked(), is_checked()] == [True, False]
    monkeypatch.setattr(gate, "program_version", lambda: "9.9")
    assert [is_checked(), is_checked()] == [True, False]
    monkeypatch.setattr(gate, "artifact_key", lambda _: "other kernels")
    assert [is_checked(), is_checked()] == [True, False]
    monkeypatch.setenv(SWITCH, gate.ALWAYS)
    assert [is_checked(), is_checked()] == [True, True]


def test_a_failed_check_refuses_at_every_start(
    fake_gpus: FakeGpus, differences: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus.plug_in(RTX_4090)
    differences.append("its encoder is off by 1.0e-01 of the output")
    for _ in range(2):
        ours = OnGpu()
        with pytest.raises(ImplementationUnavailableError) as refused:
            confirm(ours)
        assert ours.is_closed
        message = str(refused.value)
        assert message.startswith("full-max is not used on NVIDIA GeForce RTX 4090, where it does")
        assert "its encoder is off by 1.0e-01 of the output; use --impl cuda or --impl" in message
        assert "`maxwhisper parity FILE --impl full-max --device cuda:0` prints" in message
        assert len(message.splitlines()) == 1
    monkeypatch.setenv(SWITCH, gate.ALWAYS)
    differences.append(None)
    assert len(confirm()) == 1
    monkeypatch.delenv(SWITCH)
    assert confirm() == []  # the last result counts


def test_a_device_that_fails_meanwhile_ends_the_run(
    fake_gpus: FakeGpus, differences: list[str | None]
) -> None:
    """`auto` goes on to another implementation, which would find the device broken."""

    class Broken(OnGpu):
        def close(self) -> None:
            raise ValueError("CUDA call failed")

    fake_gpus.plug_in(RTX_4090)
    differences.append("it fails (CUDA call failed: illegal address)")
    with pytest.raises(ImplementationFailedError, match=r"illegal address\); use --impl cuda"):
        confirm(Broken())
    with pytest.raises(ImplementationUnavailableError, match="illegal address"):
        confirm(Broken())  # the next start knows it before anything runs


def test_too_little_memory_is_no_result(
    fake_gpus: FakeGpus, differences: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus.plug_in(RTX_4090)
    monkeypatch.setattr(gate, "available_bytes", lambda: 500_000_000)
    ours = OnGpu()
    with pytest.raises(ImplementationUnavailableError, match=r"takes 0\.6 GB .* 0\.5 GB are avail"):
        confirm(ours)
    assert ours.is_closed
    monkeypatch.setattr(gate, "available_bytes", lambda: None)
    differences.append(None)
    assert len(confirm()) == 1


def test_a_damaged_or_unwritable_record_is_none(
    fake_gpus: FakeGpus, differences: list[str | None], tmp_path: Path
) -> None:
    fake_gpus.plug_in(RTX_4090)
    differences.extend([None, None, None])
    assert len(confirm()) == 1
    (stored,) = (tmp_path / "confirmed").iterdir()
    for damaged in ("", "{}", '{"difference": 1, "checked": "2026-01-01"}'):
        stored.write_text(damaged)
        differences[:] = [None]
        assert len(confirm()) == 1
    stored.unlink()
    stored.parent.rmdir()
    stored.parent.write_text("a file in its place")
    differences[:] = [None, None]
    assert len(confirm()) == len(confirm()) == 1


@pytest.mark.max
def test_the_processor_is_confirmed_by_the_same_check(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    monkeypatch.setenv(SWITCH, gate.ALWAYS)
    monkeypatch.setattr(agreement, "N_WINDOWS", 2)  # eight take a processor long
    settings: dict[str, Any] = {"device": "cpu", "offline": True, "on_compile": lines.append}
    with load("tiny.en", "full-max", **settings) as model:
        assert model.implementation.name == "full-max"
    assert lines[-1].startswith("checking full-max on this processor against the CPU")
    lines.clear()  # the first ones may tell of graphs that were compiled
    with load("tiny.en", "full-max", **settings, self_check=False):
        assert lines == []
