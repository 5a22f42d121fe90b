"""One server for all tests of this folder, in a process of its own, and OpenAI's client for it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import openai
import pytest

from maxwhisper_cli.model import Model
from tests.support import loaded

KEY = "a key of the tests"
_START_SECONDS = 120
_STOP_SECONDS = 60


@dataclass
class RunningServer:
    """A server that a test talks with."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """Lines that it has written."""
    address: str = ""
    _ready: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Reads what it writes, to the end."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if line.startswith("ready on "):
                self.address = line.split()[-1]
                self._ready.set()
        self._ready.set()

    def wait_until_ready(self) -> None:
        """Waits for the first model."""
        assert self._ready.wait(_START_SECONDS)
        assert self.address, self.lines

    def stop(self) -> int:
        """Sends SIGTERM, and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)

    def client(self, key: str = KEY, **settings: int) -> openai.OpenAI:
        """Returns OpenAI's client for it."""
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=key, **settings)  # type: ignore[arg-type]


@contextmanager
def running(*options: str) -> Iterator[RunningServer]:
    """Runs a server, and ends it."""
    command = ["serve", "--port", "0", "--offline", "--dtype", "float32"]
    command += ["--model", "tiny.en", "--model", "base"]  # the second is loaded when it is wanted
    process = subprocess.Popen(
        [sys.executable, "-m", "maxwhisper_cli", *command, *options],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    server = RunningServer(process)
    watcher = threading.Thread(target=server.watch)
    watcher.start()
    try:
        server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        watcher.join()
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a key."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\r\n\r\n# more\r\nanother key\r\n", encoding="utf-8-sig")
    limits = ("--max-upload-mb", "20", "--max-audio-seconds", "600", "--max-idle-seconds", "2")
    with running("--api-key-file", str(keys), *limits) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    """OpenAI's client, which does not try again."""
    with server.client(max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def web(server: RunningServer) -> Iterator[httpx2.Client]:
    """A plain HTTP client with the key."""
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx2.Client(base_url=server.address, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def same_model(web: httpx2.Client) -> Model:
    """The server's model in this process, on the same implementation."""
    described = web.get("/v1/models/tiny.en").json()
    return loaded.model("tiny.en", described["implementation"])


Post = Callable[..., httpx2.Response]


@pytest.fixture(scope="session")
def post(web: httpx2.Client, jfk: Path) -> Post:
    """Sends a form with a recording; fields are keywords, or pairs where a name repeats."""

    def send(
        *pairs: tuple[str, str],
        path: str = "/v1/audio/transcriptions",
        recording: bytes | Path | None = jfk,
        **fields: str,
    ) -> httpx2.Response:
        parts = [(name, (None, value.encode())) for name, value in (*pairs, *fields.items())]
        files: list[tuple[str, tuple[str | None, bytes]]] = list(parts)
        if recording is not None:
            data = recording if isinstance(recording, bytes) else recording.read_bytes()
            files.append(("file", ("recording.wav", data)))
        return web.post(path, files=files)

    return send
