"""Each file, folder, stream and process call that the project makes is made to fail in turn.

Either it does not matter, or the program ends with a line and an exit code: no traceback, no
half-written file, and every input as it was. Marked `full`: other errors than that of permission.
"""

import errno
import io
import os
import shutil
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest

from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.request import CPU_DECODER_GRAPHS, CompileRequest, MatrixTypes
from maxwhisper_cli.compare.messages import Job
from maxwhisper_cli.compare.runner import Outcome, run_job
from maxwhisper_cli.speech.network_file import load_network
from tests.cli.conftest import MakeSound, RunCommandLine
from tests.compare.outcomes import done, measured
from tests.support import faults
from tests.support.fake_compiler import FakeCompiler
from tests.support.scripted import TINY_EN
from weights.download import fetch
from weights.errors import MaxWhisperError, WeightsError

REQUEST = CompileRequest(CPU_DECODER_GRAPHS, TINY_EN, MatrixTypes("float16", "int8", "int16"))
COMMANDS = {
    "transcribe": ["transcribe", "talk.wav", "second.wav", "-o", "out", "-f", "txt,json"],
    "batch": ["transcribe", "talk.wav", "second.wav", "-o", "out", "--batch-size", "2"],
    "compare": [
        *("compare", "talk.wav", "--model", "model.pt", "--impl", "cpu", "--runs", "1"),
        *("--json", "a.json", "--html", "a.html", "--markdown", "a.md"),
        *("--save", "--history-dir", "kept"),
    ],
    "history": ["history", "--history-dir", "kept"],
    "models": ["models"],
    "samples": ["samples"],
    "cache": ["cache"],
    "clear": ["cache", "clear", "--all"],
    "resume": [
        *("transcribe", "folder", "--recursive", "@list.txt", "--model", "tiny.en"),
        *("-o", "out", "-f", "txt", "--resume", "--summary", "sum.jsonl"),
    ],
    "manifest": ["transcribe", "--manifest", "m.jsonl", "-o", "out", "-f", "txt"],
    "shard": [
        *("transcribe", "--manifest", "m.jsonl", "--shard", "1/1", "--model", "tiny.en"),
        *("-o", "out", "--summary", "sum.jsonl"),
    ],
    "listen": ["listen", "talk.wav", "--model", "tiny.en", "-f", "txt", "-o", "out"],
    "config": ["config"],
    "completion": ["completion", "install", "zsh"],
    "doctor": ["doctor"],
}
SLOW = {"doctor", "listen", "manifest"}
"""Commands that are tried in the long form only: each run of them takes seconds."""
ERRORS = {
    "permission": PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
    "full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "missing": FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)),
    "interrupted": OSError(errno.EIO, os.strerror(errno.EIO)),
    "memory": MemoryError(),
}
SELECTED = {"permission"}


@dataclass
class House:
    """A folder with inputs, made anew for each run."""

    root: Path
    run: RunCommandLine
    talk: bytes
    texts: dict[str, str] = field(
        default_factory=lambda: {
            "list.txt": "talk.wav\nfolder\n",
            "m.jsonl": '{"audio_filepath": "talk.wav"}\n{"path": "second.wav", "offset": 0.5}\n',
            "maxwhisper.toml": "[transcribe]\nseed = 1\n",
            ".zshrc": "alias x=y\n",
        }
    )

    def fill(self) -> None:
        for path in (self.root / "here", self.root / "cache"):
            shutil.rmtree(path, ignore_errors=True)
        here = self.root / "here"
        here.mkdir()
        os.chdir(here)
        for name in ("talk.wav", "second.wav", "model.pt"):
            (here / name).write_bytes(self.talk)
        (here / "talk.txt").write_text("said")
        (here / "folder" / "below").mkdir(parents=True)
        (here / "folder" / "below" / "deep.wav").write_bytes(self.talk)
        for name, text in self.texts.items():
            (here / name).write_text(text)
        compiled = self.root / "cache" / "compiled"
        compiled.mkdir(parents=True)
        (compiled / f"{'0' * 32}.mef").write_bytes(b"graphs")
        (compiled / f"{'0' * 32}.json").write_text("{}")
        (compiled / "notes").write_text("mine")
        (here / "kept").mkdir()
        (here / "kept" / "broken.json").write_text("[")

    def check(self) -> None:
        here = self.root / "here"
        for name in ("talk.wav", "second.wav", "model.pt"):
            assert (here / name).read_bytes() == self.talk
        for name, text in self.texts.items():
            assert (here / name).read_text().startswith(text), name
        assert (self.root / "cache" / "compiled" / "notes").read_text() == "mine"
        for path in (path for folder in (here, here / "out") for path in folder.rglob("*.txt")):
            assert path.read_text("utf-8") in {"said", "Grüße, 世界.\n", "", *self.texts.values()}


@pytest.fixture
def house(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[House]:
    network = load_network()
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZDOTDIR", str(tmp_path / "here"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "here" / "data"))
    monkeypatch.setattr("maxwhisper_cli.speech.network_file.load_network", lambda *_, **__: network)

    def run_faked(job: Job, _on_message: object) -> Outcome:
        return done(job.candidate.label, *(measured(file) for file in job.files))

    monkeypatch.setattr("maxwhisper_cli.compare.run.run_job", run_faked)
    talk = sound("any.wav").read_bytes()
    home = Path.cwd()
    yield House(tmp_path, maxwhisper, talk)
    os.chdir(home)


def each_error(full: bool) -> dict[str, BaseException]:
    return {name: error for name, error in ERRORS.items() if (name in SELECTED) is not full}


def fail_in_turn(
    house: House, run: Callable[[], tuple[int, str]], watched: faults.Faults, *, full: bool
) -> int:
    """Makes each call of a run fail; returns how many calls there were."""
    house.fill()
    exit_code, output = run()
    assert exit_code in {0, 1}, output
    sites = sorted(watched.seen)
    assert sites
    for site in sites:
        for error in each_error(full).values():
            house.fill()
            with watched.making(site, error):
                exit_code, output = run()
            assert watched.n_failed > 0, f"{site} was not called again"
            assert exit_code in {0, 1, 2}, f"{site}: {output}"
            assert exit_code == 0 or "error: " in output, f"{site}: {output}"
            house.check()
    return len(sites)


def of_command(house: House, command: list[str]) -> Callable[[], tuple[int, str]]:
    def run() -> tuple[int, str]:
        stdin = house.talk if "-" in command else b""
        ended = house.run(*command, stdin=stdin)
        return ended.exit_code, ended.stderr

    return run


@pytest.mark.parametrize(
    "full", [False, pytest.param(True, marks=pytest.mark.full)], ids=["short", "full"]
)
@pytest.mark.parametrize("name", COMMANDS)
def test_commands(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    full: bool,
) -> None:
    if name in SLOW and not full:
        pytest.skip("each of its runs takes seconds: in the long form")
    house.fill()
    of_command(house, COMMANDS[name])()  # imports what it needs
    watched = faults.install(monkeypatch)
    n_sites = fail_in_turn(house, of_command(house, COMMANDS[name]), watched, full=full)
    sys.stdout.write(f"calls made to fail: {n_sites}\n")


@pytest.mark.parametrize(
    "full", [False, pytest.param(True, marks=pytest.mark.full)], ids=["short", "full"]
)
def test_compiling(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    full: bool,
) -> None:
    FakeCompiler(monkeypatch, tmp_path)

    def compile_once() -> tuple[int, str]:
        try:
            compiled_graphs(REQUEST, None)
        except (MaxWhisperError, MemoryError) as error:  # which the command line says in a line
            return 1, f"error: {error}"
        return 0, ""

    house.fill()
    compile_once()
    watched = faults.install(monkeypatch)
    n_sites = fail_in_turn(house, compile_once, watched, full=full)
    sys.stdout.write(f"calls made to fail: {n_sites}\n")


@pytest.mark.parametrize("kind", [OSError, PermissionError])
@pytest.mark.parametrize("place", ["subprocess.Popen", "tempfile.TemporaryFile"])
def test_a_worker_that_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch, kind: type[OSError], place: str
) -> None:
    from tests.compare.test_runner import job

    def refuse(*_: object, **__: object) -> None:
        raise kind(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(place, refuse)
    outcome = run_job(job("works"), lambda _: None, "tests.compare.scripted_worker")
    assert outcome.status == "failed"
    assert outcome.reason == f"its process cannot be started: {os.strerror(errno.EAGAIN)}"


def network_errors() -> list[Exception]:
    request = httpx2.Request("GET", "http://127.0.0.1/")
    family: list[type[httpx2.RequestError]] = [
        httpx2.TransportError,
        httpx2.DecodingError,
        httpx2.TooManyRedirects,
    ]
    kinds = [kind for base in family for kind in (base, *_below(base))]
    made: list[Exception] = [
        kind("refused", request=request) for kind in sorted(set(kinds), key=str)
    ]
    return [*made, httpx2.InvalidURL("refused")]


def _below(kind: type[httpx2.RequestError]) -> Iterator[type[httpx2.RequestError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


@pytest.mark.parametrize("error", network_errors(), ids=lambda error: type(error).__name__)
def test_a_network_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("httpx2.Client.stream", refuse)
    monkeypatch.setattr("weights.download._RETRY_SECONDS", 0.0)
    with pytest.raises(WeightsError, match="cannot be fetched"):
        fetch("http://127.0.0.1/model.pt", "0" * 64, tmp_path / "model.pt")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("Using SOCKS proxy, but the 'socksio' package is not installed"),
        ValueError("Unknown scheme for proxy URL"),
        FileNotFoundError(2, "No such file or directory"),
        ssl.SSLError("no certificates"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_settings_of_the_network_that_are_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("httpx2.Client.__init__", refuse)
    with pytest.raises(WeightsError, match=r"proxy|SSL_CERT_FILE"):
        fetch("http://127.0.0.1/model.pt", "0" * 64, tmp_path / "model.pt")


def test_calls_are_attributed_to_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from maxwhisper_cli.writers.files import write_atomically

    watched = faults.install(monkeypatch)
    (tmp_path / "theirs").write_text("not ours")
    assert watched.seen == set()
    write_atomically(tmp_path / "ours", "text")
    calls = {site.call for site in watched.seen}
    assert {"open", "write", "close", "replace", "stat"} <= calls
    site = next(site for site in watched.seen if site.call == "write")
    with watched.making(site, ERRORS["full"]), pytest.raises(MaxWhisperError, match="No space"):
        write_atomically(tmp_path / "ours", "other")
    assert (tmp_path / "ours").read_text() == "text"
    assert replace(site, line=0) != site
    assert isinstance(sys.stdout, io.TextIOBase)
