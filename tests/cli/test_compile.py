"""`maxwhisper compile`, and the messages of a first run; the compiler is a fake."""

import importlib.util
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from implementations import cuda_driver, nvidia, registry
from implementations.cuda_driver import CudaGpu
from implementations.max_graph.artifacts import all_compiled_graphs, compiled_folder, load_report
from implementations.max_graph.request import (
    CPU_DECODER_GRAPHS,
    ENCODER_GRAPHS,
    HOST,
    CompileRequest,
    MatrixTypes,
)
from implementations.options import LoadOptions, LoadReport
from maxwhisper_cli.model import Model
from tests.cli.conftest import FakeModels, MakeSound, RunCommandLine
from tests.support.fake_compiler import FakeCompiler
from tests.support.fake_gpus import GTX_1080, FakeGpus
from weights.dims import ModelDimensions

IMPLEMENTATION_CLASS = registry.implementation_class
UNAVAILABLE_BECAUSE = registry.unavailable_because


class FakeFullMax:
    name: ClassVar[str] = "full-max"
    graphs: ClassVar[tuple[tuple[str, ...], ...]] = (CPU_DECODER_GRAPHS, ENCODER_GRAPHS)
    must_store: ClassVar[bool] = True

    @classmethod
    def compile(cls, dims: ModelDimensions, options: LoadOptions, target: str = HOST) -> LoadReport:
        dtype = "float16" if options.dtype == "auto" else str(options.dtype)
        matrices = MatrixTypes(dtype, dtype, dtype)
        gpu = cuda_driver.gpu_index(options.device or "cuda") or 0
        names = cls.graphs if target == HOST else (sum(cls.graphs, ()),)
        requests = [CompileRequest(each, dims, matrices, target, gpu=gpu) for each in names]
        made = all_compiled_graphs(requests, options.on_compile, must_store=cls.must_store)
        return load_report(made)


class FakeHybrid(FakeFullMax):
    name: ClassVar[str] = "hybrid"
    graphs: ClassVar[tuple[tuple[str, ...], ...]] = (ENCODER_GRAPHS,)


@pytest.fixture
def loaded_models() -> list[str]:
    """Names of the models whose weights were loaded."""
    return []


@pytest.fixture
def compiler(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    models: FakeModels,
    loaded_models: list[str],
) -> FakeCompiler:
    """The command's surroundings, all fakes but the folder of compiled files."""

    def load(model: str, **_: object) -> ModelDimensions:
        loaded_models.append(model)
        return models.dims

    fakes = {"hybrid": FakeHybrid, "full-max": FakeFullMax}
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("weights.resolve.load", load)
    monkeypatch.setattr(registry, "implementation_class", fakes.__getitem__)
    monkeypatch.setattr(registry, "unavailable_because", lambda _name: None)
    return FakeCompiler(monkeypatch, tmp_path)


def test_each_is_compiled_once(maxwhisper: RunCommandLine, compiler: FakeCompiler) -> None:
    first = maxwhisper("compile", "--model", "tiny.en")
    assert (first.exit_code, first.stdout) == (0, "tiny.en: compiled for hybrid and full-max\n")
    lines = first.stderr.splitlines()
    begun, ended = [
        [line for line in lines if line.startswith(w)] for w in ("compiling", "compiled")
    ]
    numbers = {str(len(names)) for names in (ENCODER_GRAPHS, CPU_DECODER_GRAPHS)}
    assert set(re.findall(r"compiling (\d+) MAX graphs", "".join(begun))) == numbers
    assert all(line.endswith(f"once; kept in {compiled_folder()}") for line in begun)
    assert all(re.fullmatch(r"compiled \d MAX graphs in \d+ s", line) for line in ended)
    assert len(begun) == len(ended) == 2
    again = maxwhisper("compile", "--model", "tiny.en")
    assert (again.exit_code, again.stdout, again.stderr) == (0, first.stdout, "")
    assert compiler.n_runs == 2


def test_for_a_gpu_that_need_not_be_here(
    maxwhisper: RunCommandLine, compiler: FakeCompiler
) -> None:
    arguments = ("compile", "--impl", "full-max", "--model", "tiny.en", "--target", "cuda:sm_90a")
    assert maxwhisper(*arguments).exit_code == 0
    assert maxwhisper(*arguments, "--dtype", "float32").exit_code == 0
    records = [json.loads(path.read_text()) for path in compiled_folder().glob("*.json")]
    requests = [record["request"] for record in records]
    assert {request["target"] for request in requests} == {"cuda:sm_90a"}
    by_name = (*arguments[:-1], "NVIDIA GeForce RTX 4090")
    assert maxwhisper(*by_name).stdout == "tiny.en: compiled for full-max on cuda:sm_80\n"
    assert ("cuda:sm_80", 0) in made_for()
    assert sorted(request["matrices"]["decoder"] for request in requests) == ["float16", "float32"]


def test_default_target_is_the_default_device(
    maxwhisper: RunCommandLine, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "architecture", lambda _: "sm_90a")
    monkeypatch.setattr(
        registry, "default_device", {"hybrid": "cpu", "full-max": "cuda"}.__getitem__
    )
    arguments: tuple[str, ...] = ("compile", "--model", "tiny.en", "--dtype", "float32")
    for_gpus = [("cuda:sm_90a", 0)]
    assert maxwhisper(*arguments).exit_code == 0
    assert made_for() == [*for_gpus, ("host", 0)]
    assert maxwhisper(*arguments, "--target", "host").exit_code == 0
    assert maxwhisper(*arguments, "--device", "cpu").exit_code == 0
    assert made_for() == [*for_gpus, ("host", 0), ("host", 0)]
    arguments += ("--impl", "full-max")
    assert maxwhisper(*arguments, "--device", "cuda:1").exit_code == 0
    for_gpus.append(("cuda:sm_90a", 1))
    assert made_for() == [*for_gpus, ("host", 0), ("host", 0)]
    monkeypatch.setattr(nvidia, "architecture", lambda _: None)
    there = ("--device", "cuda:2", "--target", "cuda:sm_90a")
    assert maxwhisper(*arguments, *there).exit_code == 0
    for_gpus.append(("cuda:sm_90a", 2))
    assert made_for() == [*for_gpus, ("host", 0), ("host", 0)]
    assert compiler.n_runs == 5


def made_for() -> list[tuple[str, int]]:
    """The targets of what is kept, and for which of a machine's GPUs it is."""
    records = [json.loads(path.read_text()) for path in compiled_folder().glob("*.json")]
    requests = [record["request"] for record in records]
    return sorted((request["target"], request["gpu"]) for request in requests)


@pytest.mark.parametrize("gpus", [[], [GTX_1080, GTX_1080]])
def test_missing_gpu_is_an_error(
    maxwhisper: RunCommandLine, compiler: FakeCompiler, fake_gpus: FakeGpus, gpus: list[CudaGpu]
) -> None:
    if gpus:
        fake_gpus.plug_in(*gpus)
    done = maxwhisper("compile", "--model", "tiny.en", "--device", "cuda:1")
    assert (done.exit_code, done.stdout) == (1, "")
    reason = "is older than the MAX graphs" if gpus else "no NVIDIA driver"
    assert "--device cuda:1 cannot be used: " in done.stderr
    assert reason in done.stderr
    assert "--target 'RTX 4090' compiles for another machine's" in done.stderr
    assert compiler.n_runs == 0


def test_one_alone(maxwhisper: RunCommandLine, compiler: FakeCompiler) -> None:
    done = maxwhisper("compile", "--impl", "hybrid", "--model", "tiny.en", "--target", "host")
    assert (done.exit_code, done.stdout) == (0, "tiny.en: compiled for hybrid\n")
    assert compiler.n_runs == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--impl", "cpu"], "'cpu' compiles nothing; hybrid and full-max do"),
        (["--impl", "hybrid,"], "'' compiles nothing"),
        (["--target", "cuda:sm_1"], "'cuda:sm_1' is not known; name a GPU, such as RTX 4090"),
        (["--device", "gpu"], "--device is cpu, cuda or cuda:1, not 'gpu'"),
        (["--device", "cuda", "--target", "host"], "host is not what --device cuda is"),
        (["--device", "cpu", "--target", "cuda:sm_90a"], "is not what --device cpu is"),
        (["--target", "cuda"], "'cuda' is not known; name a GPU, such as RTX 4090, or choose host"),
    ],
)
def test_contradictions_are_refused(
    maxwhisper: RunCommandLine, compiler: FakeCompiler, arguments: list[str], expected: str
) -> None:
    done = maxwhisper("compile", "--model", "tiny.en", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert expected in done.stderr
    assert compiler.n_runs == 0


def test_unavailable_implementations_are_left_out_unless_named(
    maxwhisper: RunCommandLine,
    compiler: FakeCompiler,
    loaded_models: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "implementation_class", IMPLEMENTATION_CLASS)
    monkeypatch.setattr(registry, "unavailable_because", UNAVAILABLE_BECAUSE)
    find = importlib.util.find_spec
    missing = {"max"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find(name)
    )
    for arguments in ([], ["--impl", "full-max"], ["--impl", "hybrid"]):
        done = maxwhisper("compile", *arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "cannot run here: max not installed; pip install 'maxwhisper[max]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert (compiler.n_runs, loaded_models) == (0, [])


def test_default_is_all_that_can_run(
    maxwhisper: RunCommandLine, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {"hybrid": "torch not installed", "full-max": None}
    monkeypatch.setattr(registry, "unavailable_because", reasons.__getitem__)
    done = maxwhisper("compile", "--model", "tiny.en")
    assert (done.exit_code, done.stdout) == (0, "tiny.en: compiled for full-max\n")
    assert compiler.n_runs == 2


def test_in_vain_where_nothing_can_be_kept(
    maxwhisper: RunCommandLine, compiler: FakeCompiler, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("in the way")
    done = maxwhisper("compile", "--model", "tiny.en")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: compiled graphs cannot be kept in {tmp_path}")
    assert len(done.stderr.splitlines()) == 1
    assert compiler.n_runs == 0, "that is known before the minutes are spent"


def test_a_compiler_that_fails(maxwhisper: RunCommandLine, compiler: FakeCompiler) -> None:
    compiler.behave("import sys; sys.exit('it is broken')")
    done = maxwhisper("compile", "--model", "tiny.en")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith("(exit 1): it is broken")


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_first_run_warns_once_if_graphs_cannot_be_stored(
    maxwhisper: RunCommandLine,
    compiler: FakeCompiler,
    models: FakeModels,
    monkeypatch: pytest.MonkeyPatch,
    sound: MakeSound,
    quiet: list[str],
) -> None:
    sound("cache")  # a file where the cache folder should be

    def load(*named: str, on_compile: Callable[[str], None], **settings: Any) -> Model:
        monkeypatch.setattr(FakeFullMax, "must_store", False)  # as `load` does
        report = FakeFullMax.compile(models.dims, LoadOptions(on_compile=on_compile))
        model = FakeModels.load(models, *named, **settings)
        model.implementation.load_report = report
        return model

    monkeypatch.setattr("maxwhisper_cli.model.load", load)
    done = maxwhisper("transcribe", sound(), "-f", "txt", "--impl", "full-max", *quiet)
    assert (done.exit_code, compiler.n_runs) == (0, 2)
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warned) == done.stderr.count("cannot be kept") == 1
    assert (f"compiling {len(CPU_DECODER_GRAPHS)} MAX graphs" in done.stderr) is not bool(quiet)
    assert (Path(os.curdir) / "talk.txt").is_file()
