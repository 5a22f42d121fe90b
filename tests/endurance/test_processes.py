"""Several processes at once on an empty cache, children of Python's multiprocessing, odd clocks."""

import itertools
import multiprocessing
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from maxwhisper_cli.model import load
from tests.cli.conftest import MakeSound, RunCommandLine
from tests.support.fake_compiler import COUNTED
from weights.packages import PACKAGED_MODELS, installed_parts

_COMPILE = """
import sys
from implementations.max_graph import compiler_process
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.request import ENCODER_GRAPHS, CompileRequest, MatrixTypes
from weights.models import NAMED_MODELS
types = MatrixTypes("float16", "float16", "float16")
request = CompileRequest(ENCODER_GRAPHS, NAMED_MODELS["base"].dims, types)
command = [sys.executable, "-c", sys.argv[1]]
compiler_process.compiler_command = lambda _request, path: [*command, str(path)]
assert compiled_graphs(request, None).data == b"graphs"
"""
_RESOLVE = """
import sys
from weights.resolve import resolve
from weights.cache import sha256_of
print(sha256_of(resolve("base", offline=True)))
"""


def run_at_once(n_processes: int, code: str, *arguments: str) -> list[str]:
    """The outputs of processes that are started together."""
    command = [sys.executable, "-c", code, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(n_processes)]  # type: ignore[call-overload]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * n_processes, outputs
    return [stdout for stdout, _ in outputs]


@pytest.mark.parametrize("n_processes", [2, 8])
def test_of_many_processes_one_compiles(
    n_processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    log = tmp_path / "compiler.log"
    run_at_once(n_processes, _COMPILE, COUNTED.format(log=str(log), seconds=0.3))
    assert log.read_text().splitlines() == ["compiled"]
    suffixes = sorted(path.suffix for path in (tmp_path / "cache" / "compiled").iterdir())
    assert [suffix for suffix in suffixes if suffix != ".lock"] == [".json", ".mef"]


@pytest.mark.full
@pytest.mark.parametrize("n_processes", [2, 8])
def test_of_many_processes_one_joins_a_model_in_parts(
    n_processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """145 MB, so not in the default suite."""
    sources = [source for source in PACKAGED_MODELS["base"] if installed_parts(source)]
    if not sources:
        pytest.skip("no package that carries base is installed")
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    outputs = run_at_once(n_processes, _RESOLVE)
    assert {output.strip() for output in outputs} == {sources[0].sha256}


def _text_of(path: str) -> str:
    with load("tiny.en", impl="cpu", offline=True) as model:
        return model.transcribe(path).text


@pytest.mark.full
def test_spawned_processes_load_and_agree(jfk: Path) -> None:
    """Each child imports PyTorch anew, which takes seconds."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        texts = pool.map(_text_of, [str(jfk)] * 2)
    assert texts[0] == texts[1]
    assert "ask not what your country can do" in texts[0]


def _jumps() -> Iterator[float]:
    """A clock that is set by up to a year, forwards and backwards, between any two looks at it."""
    generator, now = random.Random(0), time.time()
    for _ in itertools.count():
        yield now + generator.uniform(-3e7, 3e7)


def test_a_clock_that_jumps_changes_nothing(
    maxwhisper: RunCommandLine, sound: MakeSound, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    clock = _jumps()
    monkeypatch.setattr(time, "time", lambda: next(clock))
    talk = sound(seconds=2)
    done = maxwhisper("transcribe", talk, "--model", "tiny.en", "-f", "txt,json", "--timings")
    assert done.exit_code == 0, done.output
    assert "-0" not in done.stderr
    assert (Path("talk.txt")).read_text(encoding="utf-8")
