"""Fetching from a server on this machine: cuts, resuming, wrong content, refusals."""

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from weights import download
from weights.cache import sha256_of
from weights.download import fetch
from weights.errors import ModelNotFoundError, WeightsError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Publisher:
    """A server of one file, and a record of what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    knows_ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """Bytes to send before hanging up, for one answer after another."""
    statuses: list[int] = field(default_factory=list)
    """Status to refuse with, for one answer after another."""
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of each request."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        requested = handler.headers.get("Range")
        self.ranges.append(requested)
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        start = (
            int(requested.removeprefix("bytes=").rstrip("-"))
            if requested and self.knows_ranges
            else 0
        )
        if start >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            span = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
            handler.send_header("Content-Range", span)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setattr(download, "_RETRY_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.answer(self)

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        publisher.url = f"http://127.0.0.1:{server.server_port}/model.pt"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield publisher
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "model.pt"


def left_behind(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()} - {"model.pt.lock"}


def test_fetched_whole(publisher: Publisher, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    fetch(publisher.url, SHA256, target, lambda *step: seen.append(step))
    assert target.read_bytes() == CONTENT
    assert left_behind(target) == {"model.pt"}
    assert seen[-1] == (300_000, 300_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    fetch(publisher.url, SHA256, target)
    assert publisher.ranges == [None], "what is there is not fetched again"


def test_hashed_once(publisher: Publisher, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(publisher.url, SHA256, target)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert sha256_of(target) == SHA256


def test_resumed_after_cuts(publisher: Publisher, target: Path) -> None:
    publisher.cuts = [100_000, 50_000, 1]
    seen: list[tuple[int, int]] = []
    fetch(publisher.url, SHA256, target, lambda *step: seen.append(step))
    assert target.read_bytes() == CONTENT
    assert publisher.ranges == [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]
    assert {total for _, total in seen} == {300_000}


def test_resumed_in_a_later_run(publisher: Publisher, target: Path) -> None:
    publisher.cuts = [120_000, 0, 0, 0]
    with pytest.raises(ModelNotFoundError, match="120000 bytes are kept, run again to go on"):
        fetch(publisher.url, SHA256, target)
    assert left_behind(target) == {"model.pt.part"}
    fetch(publisher.url, SHA256, target)
    assert target.read_bytes() == CONTENT
    assert publisher.ranges[-1] == "bytes=120000-"


def test_server_without_ranges(publisher: Publisher, target: Path) -> None:
    publisher.knows_ranges = False
    publisher.cuts = [100_000]
    seen: list[tuple[int, int]] = []
    fetch(publisher.url, SHA256, target, lambda *step: seen.append(step))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (300_000, 300_000)


@pytest.mark.parametrize("n_bytes", [1000, 300_000, 400_000])
def test_foreign_rest_of_an_earlier_run(publisher: Publisher, target: Path, n_bytes: int) -> None:
    """A `.part` of something else, shorter, as long or longer, is thrown away."""
    target.parent.mkdir()
    target.with_name("model.pt.part").write_bytes(b"x" * n_bytes)
    fetch(publisher.url, SHA256, target)
    assert target.read_bytes() == CONTENT
    assert publisher.ranges == [f"bytes={n_bytes}-", None]


def test_finished_rest_of_an_earlier_run(publisher: Publisher, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("model.pt.part").write_bytes(CONTENT)
    fetch(publisher.url, SHA256, target)
    assert target.read_bytes() == CONTENT


def test_wrong_content_is_never_put_in_place(publisher: Publisher, target: Path) -> None:
    publisher.content = b"a captive portal"
    with pytest.raises(WeightsError, match="not the published"):
        fetch(publisher.url, SHA256, target)
    assert left_behind(target) == set()


def test_damaged_file_in_place_is_replaced(publisher: Publisher, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"damaged")
    fetch(publisher.url, SHA256, target)
    assert target.read_bytes() == CONTENT


def test_overloaded_server_is_asked_again(publisher: Publisher, target: Path) -> None:
    publisher.statuses = [503, 502]
    fetch(publisher.url, SHA256, target)
    assert target.read_bytes() == CONTENT


def test_refusal(publisher: Publisher, target: Path) -> None:
    publisher.statuses = [404, 404]
    with pytest.raises(ModelNotFoundError, match="the server answered 404"):
        fetch(publisher.url, SHA256, target)
    assert len(publisher.ranges) == 1
    assert left_behind(target) == set()


def test_no_server(publisher: Publisher, target: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"cannot be fetched \(ConnectError"):
        fetch("http://127.0.0.1:1/model.pt", SHA256, target)


def test_folder_that_cannot_be_written(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"cannot be written.*MAXWHISPER_CACHE"):
        fetch(publisher.url, SHA256, tmp_path / "file" / "model.pt")


def test_waits_for_another_process(
    publisher: Publisher, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever comes second finds the file in place and fetches nothing."""
    target.parent.mkdir()
    is_locked = threading.Event()

    def write_slowly() -> None:
        with FileLock(f"{target}.lock"):
            is_locked.set()
            time.sleep(0.2)
            target.write_bytes(CONTENT)

    other = threading.Thread(target=write_slowly)
    other.start()
    is_locked.wait()
    fetch(publisher.url, SHA256, target)
    other.join()
    assert publisher.ranges == []
    assert "another process is writing it" in caplog.text
