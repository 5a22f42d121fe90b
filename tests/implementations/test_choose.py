"""Choice of `auto`, on machines made up of what is installed, compiled and plugged in."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from implementations import nvidia, registry
from implementations.choose import choose
from implementations.cuda_driver import CudaView
from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.artifacts import all_compiled_graphs
from implementations.max_graph.load_plan import make_plan
from implementations.options import LoadOptions
from tests.support.fake_compiler import FakeCompiler
from tests.support.fake_gpus import GTX_1080, H200, FakeGpus
from tests.support.loaded import checkpoint


class Here:
    """A machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gpus: FakeGpus) -> None:
        self._gpus = gpus
        self.missing: set[str] = set()
        self.compiled: set[tuple[str, str]] = set()
        """(device kind, dtype)."""
        monkeypatch.setattr(registry, "unavailable_because", self._unavailable)
        monkeypatch.setattr(registry, "is_compiled", self._is_compiled)
        monkeypatch.setattr(registry, "default_device", self._default_device)

    @property
    def has_gpu(self) -> bool:
        """True if it has two GPUs."""
        return bool(self._gpus.view.gpus)

    @has_gpu.setter
    def has_gpu(self, has_gpu: bool) -> None:
        self._gpus.plug_in(H200, H200)
        if not has_gpu:
            self._gpus.view = CudaView(None)

    def _unavailable(self, name: str) -> str | None:
        return f"no {name}" if name in self.missing else None

    def _default_device(self, _: str) -> str:
        return "cuda" if self.has_gpu else "cpu"

    def _is_compiled(self, name: str, _: object, options: LoadOptions) -> bool:
        if name != "full-max":
            return True
        if options.dtype == "int3":
            raise ImplementationUnavailableError("no such dtype")
        kind = str(options.device).partition(":")[0]
        return (kind, options.dtype or "auto") in self.compiled


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, fake_gpus: FakeGpus) -> Here:
    return Here(monkeypatch, fake_gpus)


def chosen(**changes: Any) -> tuple[str, str | None, str | None]:
    options = replace(LoadOptions(dtype="auto"), **changes)
    choice = choose(checkpoint("tiny.en"), options)
    return choice.name, choice.options.device, choice.hint


def test_the_fastest_that_is_ready(here: Here) -> None:
    name, device, hint = chosen()
    assert (name, device) == ("cpu", "cpu")
    assert hint is not None
    assert hint.endswith("maxwhisper compile --model tiny.en")
    here.compiled.add(("cpu", "auto"))
    assert chosen() == ("full-max", "cpu", None)
    here.has_gpu = True
    name, device, hint = chosen()
    assert (name, device) == ("cuda", "cuda")
    assert hint is not None
    assert hint.endswith("maxwhisper compile --model tiny.en")
    here.compiled.add(("cuda", "auto"))
    assert chosen() == ("full-max", "cuda", None)


def test_chosen_device_is_unchanged(here: Here) -> None:
    here.has_gpu = True
    here.compiled = {("cpu", "auto"), ("cuda", "auto")}
    assert chosen(device="cpu") == ("full-max", "cpu", None)
    assert chosen(device="cuda:1") == ("full-max", "cuda:1", None)
    here.compiled = set()
    name, device, hint = chosen(device="cpu")
    assert (name, device) == ("cpu", "cpu")
    assert hint is not None
    assert hint.endswith("maxwhisper compile --model tiny.en --device cpu")
    name, device, hint = chosen(device="cuda:1")
    assert (name, device) == ("cuda", "cuda:1")
    assert hint is not None
    assert hint.endswith("maxwhisper compile --model tiny.en --device cuda:1")
    here.has_gpu = False
    with pytest.raises(ImplementationUnavailableError, match=r"--device cuda:1.*no NVIDIA driver"):
        chosen(device="cuda:1")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0"])
def test_a_device_that_there_is_not(here: Here, device: str) -> None:
    here.has_gpu = True
    message = f"no device called {device}; use cpu, cuda or cuda:N"
    with pytest.raises(ImplementationUnavailableError, match=message):
        chosen(device=device)


def test_a_dtype_is_never_changed(here: Here) -> None:
    here.compiled = {("cpu", "auto"), ("cpu", "int8")}
    assert chosen(dtype="int8")[0] == "full-max"
    here.compiled = set()
    assert chosen(dtype="float32")[0] == "cpu"
    with pytest.raises(ImplementationUnavailableError, match=r"compile .*tiny.en --dtype int8"):
        chosen(dtype="int8")
    with pytest.raises(ImplementationUnavailableError, match=r"--dtype int3.*no such dtype"):
        chosen(dtype="int3")


def test_one_that_cannot_be_loaded_after_all_is_passed_over(here: Here) -> None:
    here.has_gpu = True
    here.compiled = {("cpu", "auto"), ("cuda", "auto")}
    refused = {"full-max on cuda": "driver too old"}
    weights, options = checkpoint("tiny.en"), LoadOptions(dtype="auto")
    choice = choose(weights, options, refused)
    assert choice.place == "cuda on cuda"
    assert choice.hint is not None
    assert "driver too old" in choice.hint
    choice = choose(weights, options, refused | {choice.place: "driver too old"})
    assert choice.place == "full-max on cpu"
    with pytest.raises(ImplementationUnavailableError, match="driver too old"):
        choose(weights, LoadOptions(device="cuda"), refused | {"cuda on cuda": "driver too old"})


def test_a_gpu_that_the_graphs_do_not_run_on(here: Here, fake_gpus: FakeGpus) -> None:
    here.compiled = {("cuda", "auto")}
    fake_gpus.plug_in(GTX_1080)
    assert chosen()[:2] == ("cuda", "cuda")
    fake_gpus.plug_in(GTX_1080, H200)
    assert chosen()[:2] == ("full-max", "cuda:1")  # the first that it can use
    here.missing = {"cuda"}
    with pytest.raises(ImplementationUnavailableError, match=r"cuda:0, sm_61\) is older than"):
        chosen(device="cuda:0")
    with pytest.raises(ImplementationUnavailableError, match="there is no cuda:2; the last of 2"):
        chosen(device="cuda:2")


def test_missing_packages_are_a_hint(here: Here) -> None:
    here.missing = {"full-max"}
    name, _, hint = chosen()
    assert name == "cpu"
    assert hint is not None
    assert "pip install 'maxwhisper[max]'" in hint
    here.missing = {"full-max", "cpu", "cuda"}
    with pytest.raises(ImplementationUnavailableError, match="pip install"):
        chosen()


def test_compiled_graphs_are_found_by_what_decides_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path))
    FakeCompiler(monkeypatch, tmp_path)
    monkeypatch.setattr(nvidia, "architecture", lambda _: "sm_90a")
    weights, options = checkpoint("tiny.en"), LoadOptions(dtype="auto")
    assert not registry.is_compiled("full-max", weights, options)
    assert not registry.is_compiled("hybrid", weights, options)
    all_compiled_graphs(make_plan(weights, options, has_decoder=False).requests, None)
    assert registry.is_compiled("hybrid", weights, options)
    assert not registry.is_compiled("full-max", weights, options)
    all_compiled_graphs(make_plan(weights, options, has_decoder=True).requests, None)
    assert registry.is_compiled("full-max", weights, options)
    on_gpu = LoadOptions(dtype="auto", device="cuda")
    assert not registry.is_compiled("full-max", weights, on_gpu)
    assert not registry.is_compiled("hybrid", weights, on_gpu)
    assert registry.is_compiled("cpu", weights, options)


def test_choosing_imports_no_framework() -> None:
    code = (
        "import sys\n"
        "from implementations.options import LoadOptions\n"
        "from implementations.choose import choose\n"
        "from weights.resolve import load\n"
        "choose(load('tiny.en', offline=True), LoadOptions())\n"
        "print(*{'torch', 'whisper', 'max'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
