"""Compiled graphs on disk: made once, checked, never needed to be kept; the compiler is a fake."""

import ast
import importlib.metadata
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from implementations.errors import ImplementationFailedError
from implementations.max_graph import artifacts, compiler_process
from implementations.max_graph.artifacts import (
    all_compiled_graphs,
    artifact_key,
    compiled_folder,
    compiled_graphs,
    load_report,
)
from implementations.max_graph.request import (
    CPU_DECODER_GRAPHS,
    ENCODER_GRAPHS,
    GPU_GRAPHS,
    HOST,
    CompileRequest,
    MatrixTypes,
)
from tests.support.checkpoints import SMALL_DIMS
from tests.support.fake_compiler import FakeCompiler
from weights.cache import cache_root

REQUEST = CompileRequest(ENCODER_GRAPHS, SMALL_DIMS, MatrixTypes("float16", "float16", "float16"))


def test_compiles_once_and_says_so(compiler: FakeCompiler) -> None:
    messages: list[str] = []
    assert [compiled_graphs(REQUEST, messages.append).data for _ in range(3)] == [b"graphs"] * 3
    assert compiler.n_runs == 1
    begun, ended = messages
    assert "2 MAX graphs together (encoder, encoder_states)" in begun
    assert begun.endswith(f"once; kept in {compiled_folder()}")
    assert ended.startswith("compiled 2 MAX graphs in ")


@pytest.mark.parametrize("damage", ["changed", "truncated", "gone", "no-record", "broken-record"])
def test_what_is_not_as_it_was_written_is_made_again(compiler: FakeCompiler, damage: str) -> None:
    compiled_graphs(REQUEST, None)
    file = compiled_folder() / f"{artifact_key(REQUEST)}.mef"
    record = file.with_suffix(".json")
    match damage:
        case "changed":
            file.write_bytes(b"grAphs")
        case "truncated":
            file.write_bytes(b"")
        case "gone":
            file.unlink()
        case "no-record":
            record.unlink()
        case "broken-record":
            record.write_text("[]")
    assert compiled_graphs(REQUEST, None).data == b"graphs"
    assert compiler.n_runs == 2
    assert compiled_graphs(REQUEST, None).data == b"graphs"
    assert compiler.n_runs == 2


def test_of_two_at_once_one_compiles_and_the_other_waits(compiler: FakeCompiler) -> None:
    compiler.behave(seconds=1)
    messages: list[str] = []
    threads = [
        threading.Thread(target=compiled_graphs, args=(REQUEST, messages.append)) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compiler.n_runs == 1
    assert sorted(words.split()[0] for words in messages) == ["compiled", "compiling", "waiting"]


MEETS = """
import pathlib, sys, time
here, n_left = pathlib.Path({folder!r}), 600
(here / pathlib.Path(sys.argv[1]).parent.name).touch()
while len(list(here.iterdir())) < {n}:
    time.sleep(0.05)
    n_left -= 1
    assert n_left, "the others never began"
pathlib.Path(sys.argv[1]).write_bytes(b"graphs")
"""
DECODER = replace(REQUEST, graphs=CPU_DECODER_GRAPHS)


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets two compilers run at a time also where there is one processor: they only wait here."""
    monkeypatch.setattr(artifacts, "available_threads", lambda: 2)


@pytest.mark.usefixtures("two_processors")
def test_missing_ones_are_compiled_at_the_same_time(compiler: FakeCompiler, tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    compiler.behave(MEETS.format(folder=str(tmp_path / "begun"), n=2))
    messages: list[str] = []
    found = all_compiled_graphs([DECODER, REQUEST], messages.append, must_store=True)
    assert [artifact.data for artifact in found] == [b"graphs"] * 2
    assert [line.split()[0] for line in messages] == ["compiling"] * 2 + ["compiled"] * 2
    assert load_report(found).compiled_seconds < sum(each.compiled_seconds for each in found)
    messages.clear()
    assert (
        load_report(all_compiled_graphs([DECODER, REQUEST], messages.append)).compiled_seconds == 0
    )
    assert messages == []


def test_only_what_is_missing_is_compiled(compiler: FakeCompiler) -> None:
    compiled_graphs(REQUEST, None)
    all_compiled_graphs([DECODER, REQUEST], None)
    assert compiler.n_runs == 2


FAILS_OR_WAITS = """
import sys, time
if "encoder" in sys.argv[2]:
    sys.exit("no such instruction")
time.sleep(60)
"""


@pytest.mark.usefixtures("two_processors")
def test_when_one_fails_the_other_is_stopped(
    compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        compiler_process,
        "compiler_command",
        lambda request, path: [sys.executable, "-c", FAILS_OR_WAITS, str(path), *request.graphs],
    )
    with pytest.raises(ImplementationFailedError, match="no such instruction"):
        all_compiled_graphs([DECODER, REQUEST], None)


def test_a_file_from_elsewhere_is_not_taken(compiler: FakeCompiler) -> None:
    """Such as one of another model, whole and with its record, under this one's name."""
    other = replace(REQUEST, dims=replace(SMALL_DIMS, n_mels=128))
    compiled_graphs(other, None)
    for suffix in (".mef", ".json"):
        theirs = compiled_folder() / f"{artifact_key(other)}{suffix}"
        theirs.rename(theirs.with_stem(artifact_key(REQUEST)))
    compiled_graphs(REQUEST, None)
    assert compiler.n_runs == 2
    compiled_graphs(REQUEST, None)
    assert compiler.n_runs == 2


def another_dtype(_patch: pytest.MonkeyPatch) -> CompileRequest:
    return replace(REQUEST, matrices=MatrixTypes("float16", "int8", "int16"))


def another_size(_patch: pytest.MonkeyPatch) -> CompileRequest:
    return replace(REQUEST, dims=replace(SMALL_DIMS, n_audio_layer=3))


def another_max(patch: pytest.MonkeyPatch) -> CompileRequest:
    patch.setattr(artifacts, "max_version", lambda: "26.8.0")
    return REQUEST


def another_code(patch: pytest.MonkeyPatch) -> CompileRequest:
    patch.setattr(artifacts, "_source_hash", lambda _target: "another")
    return REQUEST


def another_cpu(patch: pytest.MonkeyPatch) -> CompileRequest:
    patch.setattr(artifacts, "_cpu_kind", lambda: "another")
    return REQUEST


def another_target(_patch: pytest.MonkeyPatch) -> CompileRequest:
    return replace(REQUEST, target="cuda:sm_90a")


@pytest.mark.parametrize(
    "change", [another_dtype, another_size, another_max, another_code, another_cpu, another_target]
)
def test_nothing_made_for_something_else_is_taken(
    compiler: FakeCompiler,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], CompileRequest],
) -> None:
    compiled_graphs(REQUEST, None)
    changed = change(monkeypatch)
    compiled_graphs(changed, None)
    assert compiler.n_runs == 2
    compiled_graphs(changed, None)
    assert compiler.n_runs == 2


def test_what_is_for_a_gpu_may_be_compiled_beside_any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(REQUEST, target="cuda:sm_90a")
    key = artifact_key(request)
    assert artifact_key(another_cpu(monkeypatch)) != artifact_key(request) == key


HOST_ONLY = (
    *(
        "artifacts.py",
        "compiler_process.py",
        "load_plan.py",
        "ready.py",
        "runtime.py",
        "features.py",
        "token_state.py",
    ),
    *("cpu/session.py", "cpu/greedy.py", "cpu/kv_cache.py", "cpu/weights.py", "cpu/dtypes.py"),
    *("gpu/session.py", "gpu/implementation.py", "gpu/device_decoder.py", "gpu/weights.py"),
)
"""Files of max_graph that run beside compiled graphs: a change of one recompiles nothing."""
PACKAGES = cache_root() / "compiled-tests"
"""Folder of folders of kernels as Mojo packs them; asked for before a test has its own cache."""
BUILDS = """
import hashlib, shutil, sys
from pathlib import Path
import max.graph.graph

# Mojo takes four seconds to read a folder of kernels, the same as long as no file changes.
precompile = max.graph.graph._build_mojo_source_package

def precompile_once(kernels):
    digest = hashlib.sha256()
    for path in [Path(max.graph.graph.__file__), *sorted(kernels.rglob("*.mojo"))]:
        digest.update(f"{path}:".encode() + path.read_bytes())
    folder = Path(sys.argv[3]) / digest.hexdigest()[:32]
    if not folder.is_dir():
        unfinished = folder.with_suffix(".tmp")
        unfinished.mkdir(parents=True, exist_ok=True)
        shutil.copy(precompile(kernels), unfinished)
        unfinished.replace(folder)
    (package,) = folder.iterdir()
    return package

max.graph.graph._build_mojo_source_package = precompile_once
from implementations.max_graph.compile import build, _device
from implementations.max_graph.request import CompileRequest
request = CompileRequest.from_json(sys.argv[1])
_device(request)
build(request)
root = Path(sys.argv[2])
files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
print(*sorted(file for file in files if file and Path(file).is_relative_to(root)), sep="\\n")
"""


@pytest.mark.max
@pytest.mark.parametrize("target", [HOST, "cuda:sm_90a"])
def test_the_key_holds_what_compiling_imports_and_nothing_of_the_host(target: str) -> None:
    pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
    dims = replace(SMALL_DIMS, n_audio_state=128, n_text_state=128)
    graphs = (*ENCODER_GRAPHS, *CPU_DECODER_GRAPHS) if target == HOST else GPU_GRAPHS
    request = CompileRequest(graphs, dims, MatrixTypes(*["float16"] * 3), target)
    root = Path(__file__).parents[3]
    command = [sys.executable, "-P", "-c", BUILDS, request.to_json(), str(root), str(PACKAGES)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imported = {Path(line) for line in done.stdout.splitlines()}
    imported -= {path for path in imported if holds_only_a_docstring(path)}
    in_key = {path for path in artifacts.sources(target) if not holds_only_a_docstring(path)}
    assert {path for path in in_key if path.suffix == ".py"} == imported - {
        path for path in imported if "site-packages" in path.parts
    }
    folder = Path(artifacts.__file__).parent
    kernels = folder / ("cpu" if target == HOST else "gpu") / "kernels"
    assert {path for path in in_key if path.suffix == ".mojo"} == {
        path for path in kernels.rglob("*.mojo") if not holds_only_a_docstring(path)
    }
    host_only = {folder / name for name in HOST_ONLY}
    assert all(path.is_file() for path in host_only)
    assert not host_only & in_key


def holds_only_a_docstring(path: Path) -> bool:
    """True for a package's file that says what it is; Mojo's is written as Python's."""
    if path.name not in {"__init__.py", "__init__.mojo"}:
        return False
    return all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


@pytest.mark.parametrize("target", [HOST, "cuda:sm_90a"])
def test_a_change_of_a_source_is_another_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str
) -> None:
    source = tmp_path / "encoder.py"
    monkeypatch.setattr(artifacts, "sources", lambda _target: [source])
    request = replace(REQUEST, target=target)
    keys = set()
    for text in ("one", "two"):
        source.write_text(text)
        keys.add(artifact_key(request))
    assert len(keys) == 2


def test_a_folder_that_cannot_be_made_costs_a_note(compiler: FakeCompiler, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    messages: list[str] = []
    artifact = compiled_graphs(REQUEST, messages.append)
    assert artifact.data == b"graphs"
    (note,) = artifact.notes
    assert "cannot be kept" in note
    assert compiler.n_runs == 1
    assert messages[0].endswith("in every run")


def test_a_full_disk_costs_a_note(compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, _data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    artifact = compiled_graphs(REQUEST, None)
    assert artifact.data == b"graphs"
    (note,) = artifact.notes
    assert "No space left on device" in note
    assert compiler.n_runs == 1
    assert {path.suffix for path in compiled_folder().iterdir()} <= {".lock"}


def test_what_a_killed_process_left_half_written_goes(compiler: FakeCompiler) -> None:
    compiled_folder().mkdir(parents=True)
    left = compiled_folder() / f"{artifact_key(REQUEST)}.12345.tmp"
    left.write_bytes(b"gra")
    assert compiled_graphs(REQUEST, None).data == b"graphs"
    assert not left.exists()


def test_a_cache_emptied_meanwhile_is_filled_again(compiler: FakeCompiler) -> None:
    def tell(words: str) -> None:
        if words.startswith("compiled"):
            for path in compiled_folder().iterdir():
                path.unlink()
            compiled_folder().rmdir()

    compiled_graphs(REQUEST, tell)
    compiled_graphs(REQUEST, None)
    assert compiler.n_runs == 1


def test_without_room_for_temporary_files_it_says_so(
    compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.mkdtemp", fail)
    with pytest.raises(ImplementationFailedError, match=r"No usable .*TMPDIR"):
        compiled_graphs(REQUEST, None)
    assert compiler.n_runs == 0


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import sys; sys.exit('line one\\nthe last line')", r"exit 1\): the last line$"),
        ("pass", r"exit 0\): it did not say why$"),
        ("import os; os.abort()", r"exit -6\): "),
    ],
)
def test_a_compiler_that_fails_is_one_clear_line(
    compiler: FakeCompiler, program: str, expected: str
) -> None:
    compiler.behave(program)
    with pytest.raises(ImplementationFailedError, match=expected) as caught:
        compiled_graphs(REQUEST, None)
    assert "\n" not in str(caught.value)
    assert not list(compiled_folder().glob("*.mef"))


def test_the_version_is_the_installed_one() -> None:
    pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
    assert compiler_process.max_version() == importlib.metadata.version("max")


def test_a_request_survives_the_way_to_the_compiler() -> None:
    assert CompileRequest.from_json(REQUEST.to_json()) == REQUEST
