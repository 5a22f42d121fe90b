"""The compiler's process when its caller is stopped: nothing runs on, lies about or is held."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.request import (
    CPU_DECODER_GRAPHS,
    ENCODER_GRAPHS,
    CompileRequest,
    MatrixTypes,
)
from tests.support.checkpoints import SMALL_DIMS
from tests.support.fake_compiler import FakeCompiler
from weights.helper_process import run_module

REQUEST = CompileRequest(ENCODER_GRAPHS, SMALL_DIMS, MatrixTypes("float16", "float16", "float16"))
DECODER = replace(REQUEST, graphs=CPU_DECODER_GRAPHS)
KILLED = """
import subprocess, sys
program = '''
import time
from implementations.max_graph import compile
compile.compile_to = lambda request, path: (path.write_text("half"), time.sleep(60))
compile.main()
'''
subprocess.run([sys.executable, "-c", program, *sys.argv[1:]])
"""


def test_the_compiler_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "maxwhisper-temporary" / "graphs.mef"
    output.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, REQUEST.to_json(), str(output)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,  # ends when the last process that holds it has ended
    ) as process:
        while not output.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_without_its_caller_does_not_start(tmp_path: Path) -> None:
    """The caller was killed while the compiler's process was starting."""
    output = tmp_path / "maxwhisper-temporary" / "graphs.mef"
    output.parent.mkdir()
    nobody = "1" if os.getppid() != 1 else "0"
    done = run_module(
        "implementations.max_graph.start_compiler", nobody, REQUEST.to_json(), str(output)
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])


def test_what_a_killed_caller_left_is_removed_another_day(
    compiler: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for name, age in (("maxwhisper-old", 90_000), ("maxwhisper-new", 60), ("other-old", 90_000)):
        folder = tmp_path / "temporary" / name
        folder.mkdir(parents=True)
        (folder / "graphs.mef").write_bytes(b"graphs")
        os.utime(folder, (time.time() - age,) * 2)
    compiled_graphs(REQUEST, None)
    left = sorted(path.name for path in (tmp_path / "temporary").iterdir())
    assert (compiler.n_runs, left) == (1, ["maxwhisper-new", "other-old"])


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from implementations.max_graph import artifacts, compiler_process
from implementations.max_graph.compile import CompileRequest
artifacts.available_threads = lambda: 2
code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('half'); time.sleep(60)"
compiler_process.compiler_command = lambda request, path: [sys.executable, "-c", code, str(path)]
try:
    artifacts.all_compiled_graphs([CompileRequest.from_json(text) for text in sys.argv[1:]], None)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("requests", [[REQUEST], [REQUEST, DECODER]], ids=["one", "two"])
def test_ctrl_c_leaves_nothing_and_the_next_run_compiles(
    compiler: FakeCompiler, tmp_path: Path, requests: list[CompileRequest]
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *(request.to_json() for request in requests)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
    ) as process:
        while len(list(temporary.glob("*/graphs.mef"))) < len(requests):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert list(temporary.iterdir()) == []
    messages: list[str] = []
    assert compiled_graphs(REQUEST, messages.append).data == b"graphs"
    assert messages[0].startswith("compiling"), "nobody holds the lock"
