"""Compiled graphs on disk: made once, checked, never needed to be kept; the compiler is a fake."""

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from implementations.errors import ImplementationFailedError
from implementations.max_graph import artifacts
from implementations.max_graph.artifacts import artifact_key, compiled_folder, compiled_graphs
from implementations.max_graph.compile import ENCODER_GRAPHS, CompileRequest
from tests.support.checkpoints import SMALL_DIMS

REQUEST = CompileRequest(ENCODER_GRAPHS, SMALL_DIMS, "float16")
COUNTED = """
import pathlib, sys, time
with open({log!r}, "a") as log:
    log.write("compiled\\n")
time.sleep({seconds})
pathlib.Path(sys.argv[1]).write_bytes(b"graphs")
"""


class FakeCompiler:
    """Stands in for MAX's; counts how often it ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._log = folder / "compiler.log"
        self._monkeypatch = monkeypatch
        self.behave()

    def behave(self, program: str | None = None, seconds: float = 0) -> None:
        code = program or COUNTED.format(log=str(self._log), seconds=seconds)
        self._monkeypatch.setattr(
            artifacts,
            "compiler_command",
            lambda _request, path: [sys.executable, "-c", code, str(path)],
        )

    @property
    def n_runs(self) -> int:
        return len(self._log.read_text().splitlines()) if self._log.exists() else 0


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCompiler:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    return FakeCompiler(monkeypatch, tmp_path)


def test_compiles_once_and_says_so(compiler: FakeCompiler) -> None:
    told: list[str] = []
    assert [compiled_graphs(REQUEST, told.append) for _ in range(3)] == [b"graphs"] * 3
    assert compiler.n_runs == 1
    begun, ended = told
    assert "2 MAX graphs (encoder, encoder_states)" in begun
    assert str(compiled_folder()) in begun
    assert ended.startswith("compiled in ")


@pytest.mark.parametrize("damage", ["changed", "truncated", "no-record", "broken-record"])
def test_what_is_not_as_it_was_written_is_made_again(compiler: FakeCompiler, damage: str) -> None:
    compiled_graphs(REQUEST, None)
    file = compiled_folder() / f"{artifact_key(REQUEST)}.mef"
    record = file.with_suffix(".json")
    match damage:
        case "changed":
            file.write_bytes(b"grAphs")
        case "truncated":
            file.write_bytes(b"")
        case "no-record":
            record.unlink()
        case "broken-record":
            record.write_text("[]")
    assert compiled_graphs(REQUEST, None) == b"graphs"
    assert compiler.n_runs == 2
    assert compiled_graphs(REQUEST, None) == b"graphs"
    assert compiler.n_runs == 2


def test_of_two_at_once_one_compiles_and_the_other_waits(compiler: FakeCompiler) -> None:
    compiler.behave(seconds=1)
    told: list[str] = []
    threads = [threading.Thread(target=compiled_graphs, args=(REQUEST, told.append)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compiler.n_runs == 1
    assert sorted(words.split()[0] for words in told) == ["compiled", "compiling", "waiting"]


def test_a_folder_that_cannot_be_made_costs_one_warning(
    compiler: FakeCompiler, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be kept") as warned:
        assert compiled_graphs(REQUEST, None) == b"graphs"
    assert len(warned) == 1
    assert compiler.n_runs == 1


def test_a_full_disk_costs_one_warning(
    compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    told: list[str] = []
    assert compiled_graphs(REQUEST, told.append) == b"graphs"
    assert compiler.n_runs == 1
    assert [words for words in told if "No space left on device" in words] == told[2:]
    assert [path.suffix for path in compiled_folder().iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('line one\\nthe last line')", r"exit 1\): the last line$"),
        ("pass", r"exit 0\): it did not say why$"),
        ("import os; os.abort()", r"exit -6\): "),
    ],
)
def test_a_compiler_that_fails_is_one_clear_line(
    compiler: FakeCompiler, program: str, said: str
) -> None:
    compiler.behave(program)
    with pytest.raises(ImplementationFailedError, match=said) as caught:
        compiled_graphs(REQUEST, None)
    assert "\n" not in str(caught.value)
    assert not list(compiled_folder().glob("*.mef"))


def test_whatever_decides_the_file_changes_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [
        REQUEST,
        replace(REQUEST, graphs=("encoder", "decoder")),
        replace(REQUEST, matrix_dtype="float32"),
        replace(REQUEST, dims=replace(SMALL_DIMS, n_mels=128)),
    ]
    keys = [artifact_key(request) for request in requests]
    for part in ("_code_version", "_cpu_kind"):
        with monkeypatch.context() as patch:
            patch.setattr(artifacts, part, lambda: "another")
            keys.append(artifact_key(REQUEST))
    monkeypatch.setattr(artifacts, "version", lambda _package: "26.8.0")
    keys.append(artifact_key(REQUEST))
    assert len(set(keys)) == len(keys) == 7


def test_a_request_survives_the_way_to_the_compiler() -> None:
    assert CompileRequest.from_json(REQUEST.to_json()) == REQUEST
