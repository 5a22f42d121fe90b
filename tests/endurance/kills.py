"""kill -9 at random moments of a compile, a download, a cache clear, and a server under load.

    python -m tests.endurance.kills [KIND ...] [--kills 50] [--seed 1]

After each kill what is there must be whole or count as absent, and what is not ours untouched; then
the same work, undisturbed, must end with the same bytes as if nothing had been. The compiler, which
takes minutes, is one that writes a file slowly, behind the program that runs it. A run over files
is `tests.benchmarks.kill_campaign`.
"""

import argparse
import hashlib
import http.server
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from tests.endurance.kill_server import Counts, run_server_kills

_N_BYTES = 2_000_000
_COMPILE = """
import os, sys
from implementations.max_graph import compiler_process
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.request import ENCODER_GRAPHS, CompileRequest, MatrixTypes
from weights.models import NAMED_MODELS
PROGRAM = '''
import time
from implementations.max_graph import compile, start_compiler
def write(request, path):
    with path.open("wb") as file:
        for _ in range(20):
            file.write(bytes(%d // 20))
            time.sleep(0.01)
compile.compile_to = write
start_compiler.main()
''' % N_BYTES
types = MatrixTypes("float16", "float16", "float16")
request = CompileRequest(ENCODER_GRAPHS, NAMED_MODELS["base"].dims, types)
compiler_process.compiler_command = lambda request, path: [
    sys.executable, "-c", PROGRAM, str(os.getpid()), request.to_json(), str(path)
]
assert compiled_graphs(request, None).data == bytes(N_BYTES)
"""
_DOWNLOAD = """
import pathlib, sys
from weights.download import fetch
fetch(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))
"""
_RECORDING = """
import hashlib, sys
from maxwhisper_cli.inputs.fetch import FetchLimits, fetched
with fetched(sys.argv[1], FetchLimits(allow_private=True)) as path:
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sys.argv[2]
"""


@dataclass
class Kind:
    """Work in a folder of its own, which is the cache folder, and what must hold of it."""

    folder: Path
    faults: list[str] = field(default_factory=list)
    name: ClassVar[str]

    def __post_init__(self) -> None:
        self.cache, self.temporary = self.folder / "cache", self.folder / "tmp"
        self.temporary.mkdir(parents=True)

    def prepare(self) -> None:
        """Makes the state before the work."""

    def command(self) -> list[str]:
        """Returns the command that is killed."""
        raise NotImplementedError

    def check(self) -> None:
        """Notes what is wrong after a kill."""

    def check_end(self) -> None:
        """Notes what is wrong after the work was done undisturbed."""

    def require(self, *, holds: bool, fault: str) -> None:
        """Notes a fault where something does not hold."""
        if not holds:
            self.faults.append(f"{self.name}: {fault}")

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts the work."""
        environment = os.environ | {
            "MAXWHISPER_CACHE": str(self.cache),
            "TMPDIR": str(self.temporary),
        }
        return subprocess.Popen(
            self.command(), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def finish(self) -> float:
        """Does the work undisturbed; returns its seconds."""
        began = time.monotonic()
        process = self.start()
        _, errors = process.communicate(timeout=120)
        self.require(holds=process.returncode == 0, fault=f"failed: {errors.decode()[-500:]}")
        self.check_end()
        return time.monotonic() - began


class Compile(Kind):
    """Graphs are compiled by a process of its own, and stored with a record."""

    name = "compile"

    def command(self) -> list[str]:
        return [sys.executable, "-c", _COMPILE.replace("N_BYTES", str(_N_BYTES))]

    def prepare(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)

    def check(self) -> None:
        deadline = time.monotonic() + 20  # within which the compiler sees that it is alone
        while list(self.temporary.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for path in self.temporary.rglob("*.*"):  # it had ended; removed by a run of another day
            is_whole = path.name == "graphs.mef" and path.stat().st_size == _N_BYTES
            self.require(holds=is_whole, fault=f"the compiler leaves {path}")
        shutil.rmtree(self.temporary)
        self.temporary.mkdir()

    def check_end(self) -> None:
        files = sorted((self.cache / "compiled").iterdir())
        names = [path.suffix for path in files if path.suffix != ".lock"]
        self.require(holds=names == [".json", ".mef"], fault=f"files: {names}")
        found = next(path for path in files if path.suffix == ".mef").read_bytes()
        self.require(holds=found == bytes(_N_BYTES), fault="the graphs differ")


class Download(Kind):
    """Weights come from a server into the cache folder; what has come is kept."""

    name = "download"
    program = _DOWNLOAD

    def __post_init__(self) -> None:
        super().__post_init__()
        self.content = random.Random(0).randbytes(_N_BYTES)
        self.sha256 = hashlib.sha256(self.content).hexdigest()
        self.target = self.cache / "models" / "model.pt"
        self.firsts: list[int] = []

    @cached_property
    def url(self) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _slow_handler(self))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/model"

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.program, self.url, self.sha256, str(self.target)]

    def prepare(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)
        self.firsts.clear()

    def check(self) -> None:
        is_whole = not self.target.exists() or self.target.read_bytes() == self.content
        self.require(holds=is_whole, fault="half a file in its place")
        for part in self.cache.rglob("*.part"):
            self.require(
                holds=self.content.startswith(part.read_bytes()), fault=f"{part.name} is damaged"
            )

    def check_end(self) -> None:
        self.check()
        self.require(holds=self.target.exists(), fault="there is no file")


class Recording(Download):
    """A recording comes from an address, is read, and removed."""

    name = "address"
    program = _RECORDING

    def check_end(self) -> None:
        left = [path.name for path in (self.cache / "inputs").iterdir() if path.suffix != ".lock"]
        self.require(holds=not left, fault=f"left: {left}")


class Clear(Kind):
    """The cache folder is emptied of what is ours."""

    name = "cache clear"

    def prepare(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)
        self.other = self.cache / "models" / "mine.bin"
        for folder in ("compiled", "written", "checked", "models", "completion"):
            (self.cache / folder).mkdir(parents=True)
        self.other.write_bytes(b"mine")
        self.own = {}
        for number in range(300):
            folder = ("compiled", "written", "checked", "completion")[number % 4]
            path = self.cache / folder / f"{number:032x}.json"
            path.write_bytes(b"{}" * number)
            self.own[path] = path.read_bytes()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "maxwhisper_cli", "cache", "clear", "--all", "--yes"]

    def check(self) -> None:
        self.require(holds=self.other.read_bytes() == b"mine", fault="a foreign file is gone")
        for path, data in self.own.items():
            is_whole = not path.exists() or path.read_bytes() == data
            self.require(holds=is_whole, fault=f"half of {path.name}")

    def check_end(self) -> None:
        left = [path for path in self.cache.rglob("*") if path.is_file()]
        self.require(holds=left == [self.other], fault=f"left: {left}")


def _slow_handler(kind: Download) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Sends the content from where it is asked for, some KB at a time."""

        def do_GET(self) -> None:
            first = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            kind.firsts.append(first)
            n_all = len(kind.content)
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(n_all - first))
            self.send_header("ETag", '"1"')
            if first:
                self.send_header("Content-Range", f"bytes {first}-{n_all - 1}/{n_all}")
            self.end_headers()
            try:
                for at in range(first, n_all, 65536):
                    self.wfile.write(kind.content[at : at + 65536])
                    time.sleep(0.01)
            except OSError:  # the client was killed
                return

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler


KINDS: tuple[type[Kind], ...] = (Compile, Download, Recording, Clear)
SERVER = "server"


def run_kills(kind: Kind, n_kills: int, generator: random.Random) -> Counts:
    """Kills the work so often, in chains: up to four kills one upon the other, then undisturbed."""
    counts, began = Counts(), time.monotonic()
    kind.prepare()
    seconds = kind.finish()
    while counts.n_killed < n_kills and not kind.faults:
        kind.prepare()
        for _ in range(generator.choice((1, 1, 2, 4))):
            process = kind.start()
            try:
                process.communicate(timeout=generator.uniform(0.1, 1.0) * seconds)
                counts.n_ended += 1
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                counts.n_killed += 1
            kind.check()
        kind.finish()
        counts.n_undisturbed += 1
    counts.seconds = time.monotonic() - began
    counts.faults += kind.faults
    return counts


def main() -> int:
    """Returns 1 if something was lost."""
    kinds = {kind.name: kind for kind in KINDS}
    names = [*kinds, SERVER]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(names))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if unknown := set(given.kinds) - set(names):
        parser.error(f"there is no kind {unknown}; the kinds are {', '.join(names)}")
    print("| kind        | kills | ended first | undisturbed | seconds | faults |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    n_faults = 0
    for name in given.kinds or names:
        generator = random.Random(f"{name} {given.seed}")
        with tempfile.TemporaryDirectory() as folder:
            if name == SERVER:
                counts = run_server_kills(Path(folder), given.kills, generator)
            else:
                counts = run_kills(kinds[name](Path(folder)), given.kills, generator)
        n_faults += len(counts.faults)
        row = f"{name:11} | {counts.n_killed:5} | {counts.n_ended:11} | {counts.n_undisturbed:11}"
        row += f" | {counts.seconds:7.0f} | {len(counts.faults):6}"
        print(f"| {row} |", *counts.faults, sep="\n  ", flush=True)
    return int(n_faults > 0)


if __name__ == "__main__":
    sys.exit(main())
