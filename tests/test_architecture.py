"""Rules of the house that no linter has."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import implementations
import maxwhisper_cli
import weights

PACKAGES = (maxwhisper_cli, implementations, weights)
ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package.__name__).rglob("*.py"))
MODEL_FOLDERS = ("torch_model", "torch_decoder", "max_graph")
FRAMEWORKS = {"torch", "whisper", "max", "numpy"}
DRAWERS = {"utils.py", "helpers.py", "common.py", "misc.py"}
UNWANTED_TEXT = re.compile(r"/(?:work|root|tmp)/|pypi[.]org|pythonhosted[.]org|npmjs[.]com")


def tracked_files() -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("git is not installed, so what belongs to the project cannot be told")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so what belongs to the project cannot be told")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_the_three_packages_come_from_one_folder() -> None:
    folders = {Path(str(package.__file__)).parents[1] for package in PACKAGES}
    assert folders == {ROOT}, "another distribution's package of the same name is installed"


@pytest.mark.parametrize("module", ["maxwhisper_cli", "maxwhisper_cli.app"])
def test_starting_imports_no_framework(module: str) -> None:
    code = f"import sys, {module}; print(*{FRAMEWORKS!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: n for path, n in lengths.items() if n > 300} == {}


def test_functions_are_short() -> None:
    too_long = [
        f"{path}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in functions(path)
        if (node.end_lineno or node.lineno) - node.lineno >= 60
    ]
    assert too_long == []


def test_no_file_is_a_drawer() -> None:
    assert [path for path in SOURCES if path.name in DRAWERS] == []


def test_every_test_module_says_what_it_tests() -> None:
    modules = [path for path in tracked_files() if path.suffix == ".py" and path not in SOURCES]
    undocumented = [
        path for path in modules if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert modules
    assert undocumented == []


def test_every_forward_gives_its_shapes() -> None:
    forwards = [
        (path, node)
        for path in SOURCES
        if path.parent.name in MODEL_FOLDERS
        for node in functions(path)
        if node.name in {"forward", "__call__"}
    ]
    without = [
        f"{path}:{node.lineno}"
        for path, node in forwards
        if "] -> " not in (ast.get_docstring(node) or "")
    ]
    assert forwards
    assert without == []


def test_no_unwanted_text() -> None:
    """Paths of one machine, and addresses of package registries."""
    found = []
    for path in tracked_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path}:{number}: {line.strip()}"
            for number, line in enumerate(lines, 1)
            if UNWANTED_TEXT.search(line)
        ]
    assert found == []
