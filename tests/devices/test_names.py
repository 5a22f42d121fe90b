"""Names of devices in `--device`."""

import pytest

from implementations import nvidia, registry
from implementations.cuda_driver import CudaGpu
from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli.devices.names import parse_devices
from maxwhisper_cli.transcription.options import OptionsError


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three GPUs, the second of which is too old for MAX and good for PyTorch."""
    gpus = tuple(CudaGpu(i, f"GPU {i}", 9, 0, f"GPU-{i}", 2**36) for i in range(3))
    monkeypatch.setattr(nvidia, "gpus", lambda: gpus)

    def no_gpu(device: str) -> str | None:
        return None if device in {f"cuda:{i}" for i in range(3)} else "there are 3 GPUs"

    def no_max(device: str) -> str | None:
        return "it is too old" if device == "cuda:1" else no_gpu(device)

    monkeypatch.setattr(nvidia, "no_torch_gpu_because", no_gpu)
    monkeypatch.setattr(nvidia, "no_max_gpu_because", no_max)


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("text", "impl", "devices"),
    [
        ("cuda:0,cuda:2", "full-max", ("cuda:0", "cuda:2")),
        ("cuda, cuda:2", "auto", ("cuda:0", "cuda:2")),
        ("cuda:all", "full-max", ("cuda:0", "cuda:2")),
        ("cuda:all", "auto", ("cuda:0", "cuda:1", "cuda:2")),
        ("cpu,cuda:all", "hybrid", ("cpu", "cuda:0", "cuda:2")),
        ("cpu,cpu", "cpu", ("cpu", "cpu")),
        ("cuda:7", "full-max", ("cuda:7",)),
    ],
)
def test_devices(text: str, impl: str, devices: tuple[str, ...]) -> None:
    assert parse_devices(text, impl) == devices


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("text", "impl", "error", "message"),
    [
        ("cuda:0,cuda", "auto", OptionsError, "names cuda:0 twice"),
        ("cuda:0,tpu", "auto", OptionsError, "no device called 'tpu'"),
        ("cuda:0,", "auto", OptionsError, "no device called ''"),
        ("cuda:0,cuda:1", "full-max", ImplementationUnavailableError, "cuda:1 .*: it is too old"),
        ("cuda:0,cuda:3", "auto", ImplementationUnavailableError, "cuda:3 .*: there are 3 GPUs"),
        ("cuda:all", "cpu", ImplementationUnavailableError, "finds no GPU"),
    ],
)
def test_refusals(text: str, impl: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_devices(text, impl)


def test_none_is_no_choice() -> None:
    assert parse_devices(None, registry.AUTO) == ()
