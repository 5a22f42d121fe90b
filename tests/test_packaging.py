"""The wheel holds all that the program needs, and nothing of the house around it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.test_architecture import PACKAGES, ROOT, tracked_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_every_file_of_the_packages_is_in_the_wheel(wheel: set[str]) -> None:
    ours = {path.relative_to(ROOT).as_posix() for path in tracked_files()}
    packaged = {name for name in ours if name.split("/")[0] in {p.__name__ for p in PACKAGES}}
    assert packaged
    assert packaged - wheel == set()


def test_the_samples_manifest_is_where_the_program_looks(wheel: set[str]) -> None:
    assert "maxwhisper_cli/audio_samples/manifest.json" in wheel


def test_nothing_else_is_installed(wheel: set[str]) -> None:
    tops = {Path(name).parts[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        package.__name__ for package in PACKAGES
    }


def test_each_package_is_typed(wheel: set[str]) -> None:
    assert {f"{package.__name__}/py.typed" for package in PACKAGES} <= wheel


def test_every_dependency_has_the_bounds_that_were_tried() -> None:
    """A lower and an upper one; a release named by its date has no major that ends before it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    dated = {"openai-whisper", "yt-dlp"}
    for line in [*project["dependencies"], *extras]:
        found = re.fullmatch(r"([\w.-]+?)(?:\[[\w,-]+\])?([=>]=[\w.]+)(,<[\w.]+)?", line)
        assert found, line
        name, lower, upper = found.groups()
        assert lower.startswith("==") or upper or name in dated, line


def test_the_oldest_versions_are_those_of_the_bounds() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "oldest.py"), "torch==2.13.0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    constraints = dict(line.split("==") for line in done.stdout.splitlines())
    assert constraints["torch"] == "2.13.0"
    assert constraints["av"] == "18.0"
    assert len(constraints) == len(done.stdout.splitlines())
