"""Helper processes import what this process would, and nothing of the current folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weights.helper_process import helper_environment, import_folders, module_command

ROOT = str(Path(__file__).parents[2])
PARENT = """
import os, subprocess, sys
from weights.helper_process import helper_environment, module_command
sys.path[:0] = [sys.argv[2], sys.argv[1]]
os.environ["PYTHONPATH"] = sys.argv[2]
command = module_command("probe", "a", "b")
done = subprocess.run(command, env=helper_environment(), capture_output=True, text=True)
print(done.stdout, done.stderr)
"""
PROBE = """
import sys, numpy, numpy.typing, types, weights.dims, implementations
print(*sys.argv[1:], __name__, numpy.__file__, weights.__file__)
"""


@pytest.mark.parametrize("entry", ["", ".", "here", "other"])
def test_the_current_folder_decides_nothing(tmp_path: Path, entry: str) -> None:
    here, probes = tmp_path / "here", tmp_path / "probes"
    for folder in (here, probes):
        folder.mkdir()
    for name in ("numpy", "types", "weights", "json", "runpy", "implementations", "pip"):
        (here / f"{name}.py").write_text(f'open({str(tmp_path / "RAN")!r}, "w")\n')
    (probes / "probe.py").write_text(PROBE)
    entries = {"here": str(here), "other": str(probes)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PARENT, str(probes), entries.get(entry, entry)],
        cwd=here,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("a b __main__ "), done.stdout + done.stderr
    assert str(Path(ROOT) / "weights" / "__init__.py") in done.stdout
    assert not (tmp_path / "RAN").exists()


def test_the_project_is_found_where_it_is_the_current_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", ["", ROOT, "relative", *sys.path])
    folders = import_folders()
    assert folders.count(ROOT) == 1
    assert all(Path(folder).is_absolute() for folder in folders)


def test_the_project_is_found_where_an_import_hook_finds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry) != Path(ROOT)])
    assert import_folders()[0] == ROOT


def test_a_current_folder_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert ROOT in import_folders()


def test_the_environment_names_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = helper_environment(MORE="1")
    assert "PYTHONPATH" not in environment
    assert (environment["PYTHONSAFEPATH"], environment["MORE"]) == ("1", "1")


_SHOWN = "doctor/machine.py"
"""The doctor's page shows the interpreter, and starts nothing."""


def test_every_python_that_is_started_is_such_a_helper() -> None:
    """Nothing but this module names the interpreter in what the project runs."""
    packages = ("maxwhisper_cli", "implementations", "weights")
    files = [path for package in packages for path in (Path(ROOT) / package).rglob("*.py")]
    texts = {f"{path.parent.name}/{path.name}": path.read_text(encoding="utf-8") for path in files}
    named = {name for name, text in texts.items() if "sys.executable" in text}
    assert named == {"weights/helper_process.py", _SHOWN}
    assert "subprocess" not in texts[_SHOWN]
    assert module_command("x")[:2] == [sys.executable, "-P"]
