"""Compiled graphs are run only from a folder, and a file, that nobody else may write."""

import os
from pathlib import Path

import pytest

from implementations.errors import ImplementationFailedError
from implementations.max_graph import artifacts
from implementations.max_graph.artifacts import (
    artifact_key,
    compiled_folder,
    compiled_graphs,
    is_stored,
)
from tests.implementations.max_graph.test_artifacts import REQUEST
from tests.support.fake_compiler import FakeCompiler


def stored_file() -> Path:
    return compiled_folder() / f"{artifact_key(REQUEST)}.mef"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_graphs_of_an_open_folder_are_not_used(compiler: FakeCompiler, mode: int) -> None:
    compiled_graphs(REQUEST, None)
    compiled_folder().chmod(mode)
    assert not is_stored(REQUEST)
    made = compiled_graphs(REQUEST, None)
    assert (made.data, compiler.n_runs) == (b"graphs", 2)
    (note,) = made.notes
    assert f"others may write in {compiled_folder()} (chmod go-w mends it)" in note
    with pytest.raises(ImplementationFailedError, match="not safe"):
        compiled_graphs(REQUEST, None, must_store=True)
    compiled_folder().chmod(0o755)
    assert is_stored(REQUEST)


def test_graphs_of_somebody_else_are_not_used(
    compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_graphs(REQUEST, None)
    owner = compiled_folder().stat().st_uid
    if owner == 0:  # whose files everybody may use
        os.chown(compiled_folder(), 12345, -1)
        owner = 12345
    else:
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    made = compiled_graphs(REQUEST, None)
    assert f"belongs to user {owner}" in made.notes[0]
    assert compiler.n_runs == 2


def test_a_file_that_others_may_write_is_made_again(compiler: FakeCompiler) -> None:
    compiled_graphs(REQUEST, None)
    stored_file().chmod(0o664)
    assert compiled_graphs(REQUEST, None).notes == ()
    assert compiler.n_runs == 2
    assert stored_file().stat().st_mode & 0o777 == 0o644


def test_an_open_umask_makes_no_open_folder(compiler: FakeCompiler) -> None:
    before = os.umask(0)
    try:
        compiled_graphs(REQUEST, None)
    finally:
        os.umask(before)
    assert compiled_folder().stat().st_mode & 0o777 == 0o755
    for path in (stored_file(), stored_file().with_suffix(".json")):
        assert path.stat().st_mode & 0o777 == 0o644
    assert artifacts.is_stored(REQUEST)
    assert compiled_graphs(REQUEST, None).data == b"graphs"
    assert compiler.n_runs == 1
