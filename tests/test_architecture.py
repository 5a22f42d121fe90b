"""Rules of the house that no linter has."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from graphlib import TopologicalSorter
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
REGISTERED = re.compile(r'extensibility\.register\("(\w+)"\)')
MAX_MOJO_LINES = 60
LONG_MOJO_FUNCTIONS: dict[str, int] = {
    "cpu/kernels/bind_block.mojo BindBlockOp.execute": 69,
    "cpu/kernels/decode.mojo DecodeStepOp.execute": 63,
    "cpu/kernels/decode.mojo TopKOp.execute": 74,
    "cpu/kernels/decode_rows.mojo DecodeRowsOp.execute": 74,
    "cpu/kernels/greedy.mojo GreedyOp.execute": 75,
    "gpu/kernels/advance_beams.mojo advance_beams_kernel": 98,
    "gpu/kernels/advance_beams.mojo choose_continuations": 65,
    "gpu/kernels/attention.mojo CrossAttention.execute": 81,
    "gpu/kernels/attention.mojo SelfAttentionKVCache.execute": 68,
    "gpu/kernels/attention.mojo Attention.execute": 69,
    "gpu/kernels/attention_kernel.mojo attention_kernel": 181,
    "gpu/kernels/dtw.mojo dtw_kernel": 69,
    "gpu/kernels/encoder_matmul.mojo EncoderMatmul.execute": 81,
    "gpu/kernels/encoder_matmul.mojo encoder_matmul": 109,
    "gpu/kernels/encoder_post_attention.mojo EncoderPostAttention.execute": 169,
    "gpu/kernels/flash_attention.mojo flash_attention_kernel": 207,
    "gpu/kernels/gemm.mojo gemm_kernel": 150,
    "gpu/kernels/gemm_tma.mojo gemm_tma_kernel": 231,
    "gpu/kernels/gemv.mojo gemv_kernel": 67,
    "gpu/kernels/log_mel.mojo log_mel_kernel": 69,
    "gpu/kernels/matmul.mojo tiled_matmul_kernel": 66,
    "gpu/kernels/matmul.mojo Matmul.execute": 77,
    "gpu/kernels/matmul_half.mojo MatmulHalf.execute": 110,
    "gpu/kernels/mma_flash_attention.mojo mma_flash_attention_kernel": 164,
    "gpu/kernels/mma_flash_attention.mojo add_step": 64,
    "gpu/kernels/mma_gemm.mojo mma_gemm": 63,
    "gpu/kernels/mma_gemm_kernel.mojo mma_gemm_kernel": 196,
    "gpu/kernels/post_attention.mojo post_attention_kernel": 241,
    "gpu/kernels/sample.mojo sample_kernel": 84,
    "gpu/kernels/sample.mojo Sample.execute": 75,
    "gpu/kernels/skinny_matmul.mojo norm_skinny_matmul_kernel": 61,
    "gpu/kernels/skinny_matmul.mojo skinny_matmul": 120,
    "gpu/kernels/top_k.mojo partial_top_k_kernel": 65,
    "gpu/kernels/top_k.mojo TopK.execute": 65,
}
"""Longer functions, by their lines; the list may only shrink. A registered operation names each of
its operands twice."""
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


def mojo_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yields the functions of a Mojo file, by struct and name, and their lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    owner = ""
    for number, line in enumerate(lines):
        if found := re.match(r"(?:struct|trait) (\w+)", line):
            owner = f"{found[1]}."
        if not (found := re.match(r"( *)def (\w+)", line)):
            continue
        indent, last = len(found[1]), number
        owner = owner if indent else ""
        for later in range(number + 1, len(lines)):
            text = lines[later].lstrip()
            if text and len(lines[later]) - len(text) <= indent and text[0] not in ")]}":
                break
            last = later if text else last
        yield f"{owner}{found[2]}", last - number + 1


def test_mojo_functions_are_short() -> None:
    kernels = ROOT / "implementations" / "max_graph"
    found = {
        f"{path.relative_to(kernels).as_posix()} {name}": n_lines
        for path in sorted(kernels.rglob("*.mojo"))
        for name, n_lines in mojo_functions(path)
        if n_lines > MAX_MOJO_LINES
    }
    assert found.keys() == LONG_MOJO_FUNCTIONS.keys()
    assert all(n_lines <= LONG_MOJO_FUNCTIONS[name] for name, n_lines in found.items())


def test_mojo_files_are_short() -> None:
    paths = (ROOT / "implementations").rglob("*.mojo")
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert lengths
    assert {path: n for path, n in lengths.items() if n > 300} == {}


def test_every_operation_has_a_test_of_its_own() -> None:
    """In a file of its name, or in one of its device that names it."""
    found, untested = 0, []
    for device in ("cpu", "gpu"):
        tests = [*(ROOT / "tests/implementations/max_graph" / device).rglob("test_*.py")]
        names, text = {path.stem for path in tests}, "".join(path.read_text() for path in tests)
        for path in (ROOT / "implementations/max_graph" / device / "kernels").glob("*.mojo"):
            for operation in REGISTERED.findall(path.read_text(encoding="utf-8")):
                found += 1
                name = operation.removeprefix(f"whisper_{device}_")
                if f"test_{name}" not in names and operation not in text:
                    untested.append(operation)
    assert found > 30
    assert untested == []


def test_imports_go_in_no_circle() -> None:
    """Imports at a module's own level, but those for type checkers alone."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SOURCES}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {name: set(imported(path, modules)) - {name} for name, path in modules.items()}
    assert any(graph.values())
    list(TopologicalSorter(graph).static_order())  # raises CycleError, with the circle


def imported(path: Path, modules: Collection[str]) -> Iterator[str]:
    """Yields the modules of ours that importing a file imports."""
    inside = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        is_for_types = isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test)
        if isinstance(statement, inside) or is_for_types:
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in modules)
            elif isinstance(node, ast.ImportFrom):
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                targets = (name if name in modules else str(node.module) for name in names)
                yield from (target for target in targets if target in modules)


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
