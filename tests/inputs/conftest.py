"""A small HTTP server on this machine that serves, cuts off, redirects and counts."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Page:
    """One address of the server."""

    content: bytes = b""
    kind: str = "audio/wav"
    etag: str | None = '"1"'
    location: str | None = None
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the connection ends, for the next answers in turn."""
    status: int = 200
    takes_ranges: bool = True
    announces: bool = True
    """True if the server says how long it is."""


@dataclass
class Server:
    """Pages by path, and the requests that came."""

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and headers in lower case."""

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


class Handler(BaseHTTPRequestHandler):
    """Answers from the pages of a `Server`."""

    served: Server

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.served.requests.append((self.command, self.path, headers))
        page = self.served.pages.get(self.path)
        if page is None:
            self.send_error(404)
            return
        if page.location is not None:
            self.send_response(302)
            self.send_header("Location", page.location)
            self.end_headers()
            return
        start = 0
        wanted = headers.get("range")
        if wanted and page.takes_ranges and headers.get("if-range") == page.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else page.status)
        if start:
            last = len(page.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(page.content)}")
        if page.etag is not None:
            self.send_header("ETag", page.etag)
        self.send_header("Content-Type", page.kind)
        if page.announces:
            self.send_header("Content-Length", str(len(page.content) - start))
        self.end_headers()
        if with_body:
            end = start + page.cut_after.pop(0) if page.cut_after else len(page.content)
            self.wfile.write(page.content[start:end])
            self.close_connection = True

    def handle(self) -> None:
        """Answers; a client that leaves is no error."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a port of 127.0.0.1, which also answers at 127.0.0.2."""
    handler = type("BoundHandler", (Handler,), {})
    httpd = ThreadingHTTPServer(("", 0), handler)
    served = Server(httpd.server_address[1])
    handler.served = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: httpd.serve_forever(0.02), daemon=True)
    thread.start()
    yield served
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads go to a folder of the test, and no proxy of the environment is used."""
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path_factory.mktemp("cache")))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("maxwhisper_cli.inputs.fetch._RETRY_SECONDS", 0.0)
