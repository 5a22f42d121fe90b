"""Places of configuration files, their order, and whose files are used."""

import os
from pathlib import Path

import pytest

from maxwhisper_cli.configuration.files import ConfigurationError, find_files

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, and empty places of the user's and the system's file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    folder = tmp_path / "project" / "talks"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def write(path: Path, text: str = "seed = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_nearest_file_comes_first_then_the_users_then_the_systems(
    here: Path, tmp_path: Path
) -> None:
    paths = [
        write(here.parent / "maxwhisper.toml"),
        write(tmp_path / "user" / "maxwhisper" / "maxwhisper.toml"),
        write(tmp_path / "system" / "maxwhisper" / "maxwhisper.toml"),
    ]
    write(tmp_path / "maxwhisper.toml", "seed = 2\n")  # further up: not read
    found = find_files().files
    assert [file.path for file in found] == paths
    assert [file.kind for file in found] == ["project", "user", "system"]


def test_a_table_of_pyproject_is_used_unless_a_file_of_our_own_lies_beside(here: Path) -> None:
    shared = write(here / "pyproject.toml", "[tool.maxwhisper]\nseed = 3\n")
    assert [(f.path, dict(f.content)) for f in find_files().files] == [(shared, {"seed": 3})]
    own = write(here / "maxwhisper.toml")
    assert [file.path for file in find_files().files] == [own]


def test_a_pyproject_without_our_table_is_passed_by(here: Path) -> None:
    write(here / "pyproject.toml", "[tool.ruff]\n")
    above = write(here.parent / "pyproject.toml", "[tool.maxwhisper]\n")
    assert [file.path for file in find_files().files] == [above]


def test_a_damaged_pyproject_is_somebody_elses_fault(here: Path) -> None:
    write(here / "pyproject.toml", "[tool")
    found = find_files()
    assert found.files == ()
    assert "no valid TOML" in found.warnings[0]


@pytest.mark.parametrize(
    "text",
    ["seed =", "a = " + "[" * 2000, "\ufeff\0", "x" * 2**20],
    ids=["cut", "deep", "0", "big"],
)
def test_a_damaged_file_of_our_own_is_an_error(here: Path, text: str) -> None:
    path = write(here / "maxwhisper.toml", text)
    with pytest.raises(ConfigurationError, match=r"maxwhisper\.toml: "):
        find_files()
    assert find_files(is_off=True).files == ()
    assert path.exists()


def test_a_pipe_is_not_waited_for(here: Path) -> None:
    os.mkfifo(here / "maxwhisper.toml")
    assert find_files().files == ()
    with pytest.raises(ConfigurationError, match="not a regular file"):
        find_files(here / "maxwhisper.toml")


def test_a_chosen_file_is_the_only_one(here: Path, tmp_path: Path) -> None:
    write(here / "maxwhisper.toml")
    chosen = write(tmp_path / "chosen.toml", "seed = 4\n")
    found = find_files(chosen).files
    assert [(file.path, file.kind, dict(file.content)) for file in found] == [
        (chosen, "chosen", {"seed": 4})
    ]
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        find_files(tmp_path / "absent.toml")


def test_a_file_that_everybody_may_write_is_not_used(here: Path) -> None:
    path = write(here / "maxwhisper.toml")
    path.chmod(0o666)
    found = find_files()
    assert found.files == ()
    assert found.warnings == (
        f"{path}: not used, since everybody may write it; --config-file {path} uses it",
    )


def test_a_file_of_somebody_else_is_not_used(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "maxwhisper.toml")
    write(here / "pyproject.toml", "[tool.maxwhisper]\n")
    owner = (here / "maxwhisper.toml").stat().st_uid
    if owner == 0:
        os.chown(here / "maxwhisper.toml", 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    found = find_files()
    assert [file.path for file in found.files if file.path.parent == here] == []
    assert "belongs to somebody else" in found.warnings[0]
