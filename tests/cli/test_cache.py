"""`maxwhisper cache` and `maxwhisper cache clear`, on a folder filled by the real code."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from implementations.max_graph.artifacts import artifact_key, compiled_folder, compiled_graphs
from implementations.max_graph.request import (
    CPU_DECODER_GRAPHS,
    ENCODER_GRAPHS,
    CompileRequest,
    MatrixTypes,
)
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.samples import load_manifest
from tests.cli.conftest import RunCommandLine, names
from tests.support.fake_compiler import FakeCompiler
from tests.support.scripted import TINY_EN
from weights.cache import record_sha256
from weights.models import NAMED_MODELS

DECODER = CompileRequest(CPU_DECODER_GRAPHS, TINY_EN, MatrixTypes("float16", "int8", "int16"))
ENCODER = CompileRequest(
    ENCODER_GRAPHS, replace(TINY_EN, n_audio_layer=32), MatrixTypes("float32", "float32", "float32")
)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder with two compiled files, a model and a sample."""
    root = tmp_path / "cache"
    monkeypatch.setenv("MAXWHISPER_CACHE", str(root))
    FakeCompiler(monkeypatch, tmp_path)
    for request in (DECODER, ENCODER):
        compiled_graphs(request, None)
    jfk = next(sample for sample in load_manifest() if sample.name == "jfk")
    assert jfk.source is not None
    for path, sha256 in (
        (root / "models" / "base.pt", NAMED_MODELS["base"].sha256),
        (root / "samples" / jfk.file, jfk.source.sha256),
    ):
        path.parent.mkdir()
        path.write_bytes(b"x" * 2_000_000)
        record_sha256(path, sha256)  # as a file that was fetched
    (root / "models" / "base.pt.lock").touch()
    return root


def test_entries_of_the_cache(maxwhisper: RunCommandLine, folder: Path) -> None:
    done = maxwhisper("cache")
    assert (done.exit_code, done.stderr) == (0, "")
    first, *table = done.stdout.splitlines()
    assert first == f"{folder}: 4.0 MB"
    assert max(map(len, table)) <= 80
    rows = [line.split("  ")[0] for line in table]
    layers, state = TINY_EN.n_audio_layer, TINY_EN.n_audio_state
    n_text_layers = TINY_EN.n_text_layer
    assert (
        f"decoder {layers}+{n_text_layers} layers of {state}, float16+int8, MAX 26" in done.stdout
    )
    assert f"encoder 32+{n_text_layers} layers of {state}, float32, MAX 26" in done.stdout
    assert {"model", "sample"} <= set(rows)
    assert ".lock" not in done.stdout


def test_graphs_for_a_gpu_name_it(maxwhisper: RunCommandLine, folder: Path) -> None:
    assert folder.is_dir()
    for gpu in (0, 1):
        compiled_graphs(replace(ENCODER, target="cuda:sm_90a", gpu=gpu), None)
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
def test_damaged_file_is_marked(maxwhisper: RunCommandLine, folder: Path, damage: str) -> None:
    assert folder.is_dir()
    file = compiled_folder() / f"{artifact_key(ENCODER)}.mef"
    if damage == "changed":
        file.write_bytes(b"grAphs")
    else:
        file.with_suffix(".json").unlink()
    listed = json.loads(maxwhisper("cache", "--json").stdout)
    assert [entry["path"] for entry in listed if entry["what"] == "damaged"] == [str(file)]


def test_clear_removes_only_compiled_graphs(maxwhisper: RunCommandLine, folder: Path) -> None:
    done = maxwhisper("cache", "clear")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith(f" MB from {folder}\n")
    assert names(folder) == ["checked", "models", "samples"]
    assert maxwhisper("cache").stdout.startswith(f"{folder}: 4.0 MB")


def test_clear_all_takes_everything(maxwhisper: RunCommandLine, folder: Path) -> None:
    (folder / "somebody-elses").touch()
    done = maxwhisper("cache", "clear", "--all")
    assert (done.exit_code, done.stdout) == (0, f"removed 4.0 MB from {folder}\n")
    assert [path.name for path in folder.iterdir()] == ["somebody-elses"]


def test_clear_all_leaves_foreign_files(
    maxwhisper: RunCommandLine, folder: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.pt"
    elsewhere.touch()
    mine = [
        folder / "compiled" / "notes.txt",
        folder / "models" / "fine" / "model.safetensors",
        folder / "models" / "my-finetune.pt",
        folder / "models" / "small.pt",  # called like a model, and another one
        folder / "samples" / "me.txt",
        folder / "samples" / "me.wav",
    ]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    link = folder / "models" / "medium.pt"
    link.symlink_to(elsewhere)
    done = maxwhisper("cache", "clear", "--all")
    assert (done.exit_code, done.stdout) == (0, f"removed 4.0 MB from {folder}\n")
    assert sorted(path for path in folder.rglob("*") if not path.is_dir()) == sorted([*mine, link])
    assert elsewhere.exists()
    listed = done.stderr.splitlines()
    assert len(listed) == len(mine) + 1
    assert f"left, since maxwhisper did not put it there: {mine[0]}" in listed


@pytest.mark.parametrize(("answer", "is_removed"), [("y\n", True), ("n\n", False), ("", False)])
def test_terminal_gets_a_question(
    maxwhisper: RunCommandLine,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    is_removed: bool,
) -> None:
    monkeypatch.setattr(Terminal, "can_ask", property(lambda _: True))
    done = maxwhisper("cache", "clear", stdin=answer.encode())
    assert (done.exit_code, compiled_folder().exists()) == (int(not is_removed), not is_removed)
    assert f"files, 0.0 MB, from {folder}? [y/N]" in done.stderr
    assert maxwhisper("cache", "clear", "--yes").exit_code == 0
    assert not compiled_folder().exists()


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


def test_unremovable_file_is_an_error(
    maxwhisper: RunCommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, missing_ok: bool) -> None:
        assert missing_ok
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "unlink", refuse)
    done = maxwhisper("cache", "clear")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {folder / 'compiled'}")
    assert done.stderr.endswith(" cannot be removed: Permission denied; change its permissions\n")
