"""`maxwhisper cache` and `maxwhisper cache clear`, on a folder filled by the real code."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from implementations.max_graph.artifacts import artifact_key, compiled_folder, compiled_graphs
from implementations.max_graph.request import (
    CPU_GRAPHS,
    ENCODER_GRAPHS,
    CompileRequest,
    MatrixTypes,
)
from tests.cli.conftest import RunCommandLine
from tests.support.fake_compiler import FakeCompiler
from tests.support.scripted import TINY_EN

FULL_MAX = CompileRequest(CPU_GRAPHS, TINY_EN, MatrixTypes("float16", "int8", "int16"))
HYBRID = CompileRequest(
    ENCODER_GRAPHS, replace(TINY_EN, n_audio_layer=32), MatrixTypes("float32", "float32", "float32")
)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder with two compiled files, a model and a sample."""
    root = tmp_path / "cache"
    monkeypatch.setenv("MAXWHISPER_CACHE", str(root))
    FakeCompiler(monkeypatch, tmp_path)
    for request in (FULL_MAX, HYBRID):
        compiled_graphs(request, None)
    for path in (root / "models" / "base.pt", root / "samples" / "jfk.wav"):
        path.parent.mkdir()
        path.write_bytes(b"x" * 2_000_000)
    (root / "models" / "base.pt.lock").touch()
    return root


def test_what_is_there(maxwhisper: RunCommandLine, folder: Path) -> None:
    done = maxwhisper("cache")
    assert (done.exit_code, done.stderr) == (0, "")
    first, *table = done.stdout.splitlines()
    assert first == f"{folder}: 4.0 MB"
    assert max(map(len, table)) <= 80
    rows = [line.split("  ")[0] for line in table]
    layers, state = TINY_EN.n_audio_layer, TINY_EN.n_audio_state
    n_text_layers = TINY_EN.n_text_layer
    assert (
        f"full-max {layers}+{n_text_layers} layers of {state}, float16+int8, MAX 26" in done.stdout
    )
    assert f"hybrid 32+{n_text_layers} layers of {state}, float32, MAX 26" in done.stdout
    assert {"model", "sample"} <= set(rows)
    assert ".lock" not in done.stdout


def test_what_is_for_a_gpu_says_for_which(maxwhisper: RunCommandLine, folder: Path) -> None:
    assert folder.is_dir()
    for gpu in (0, 1):
        compiled_graphs(replace(HYBRID, target="cuda:sm_90a", gpu=gpu), None)
    done = maxwhisper("cache")
    assert "float32, cuda:sm_90a, MAX 26" in done.stdout
    assert "float32, cuda:sm_90a for cuda:1, MAX 26" in done.stdout
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80


def test_as_json(maxwhisper: RunCommandLine, folder: Path) -> None:
    listed = json.loads(maxwhisper("cache", "--json").stdout)
    assert len(listed) == 4
    assert all(Path(entry["path"]).stat().st_size == entry["bytes"] for entry in listed)
    assert [entry["path"] for entry in listed if entry["what"] == "model"] == [
        str(folder / "models" / "base.pt")
    ]


@pytest.mark.parametrize("damage", ["changed", "no-record"])
def test_what_is_damaged_is_called_so(
    maxwhisper: RunCommandLine, folder: Path, damage: str
) -> None:
    assert folder.is_dir()
    file = compiled_folder() / f"{artifact_key(HYBRID)}.mef"
    if damage == "changed":
        file.write_bytes(b"grAphs")
    else:
        file.with_suffix(".json").unlink()
    listed = json.loads(maxwhisper("cache", "--json").stdout)
    assert [entry["path"] for entry in listed if entry["what"] == "damaged"] == [str(file)]


def test_clear_takes_what_was_compiled_alone(maxwhisper: RunCommandLine, folder: Path) -> None:
    done = maxwhisper("cache", "clear")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith(f" MB from {folder}\n")
    assert sorted(path.name for path in folder.iterdir()) == ["models", "samples"]
    assert maxwhisper("cache").stdout.startswith(f"{folder}: 4.0 MB")


def test_clear_all_takes_everything(maxwhisper: RunCommandLine, folder: Path) -> None:
    (folder / "somebody-elses").touch()
    done = maxwhisper("cache", "clear", "--all")
    assert (done.exit_code, done.stdout) == (0, f"removed 4.0 MB from {folder}\n")
    assert [path.name for path in folder.iterdir()] == ["somebody-elses"]


@pytest.mark.parametrize("what", ["nothing", "a file"])
def test_an_empty_or_impossible_folder(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    root = tmp_path / "elsewhere"
    monkeypatch.setenv("MAXWHISPER_CACHE", str(root))
    if what == "a file":
        root.write_text("in the way")
    assert maxwhisper("cache").stdout == f"{root}: 0.0 MB\n"
    assert json.loads(maxwhisper("cache", "--json").stdout) == []
    assert maxwhisper("cache", "clear", "--all").stdout == f"removed 0.0 MB from {root}\n"
    assert root.exists() is (what == "a file")


def test_what_cannot_be_removed_is_an_error(
    maxwhisper: RunCommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    done = maxwhisper("cache", "clear")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {folder / 'compiled'} cannot be removed: Permission denied; "
        "change its permissions\n"
    )
