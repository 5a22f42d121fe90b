"""Addresses in requests: fetched only if that is allowed, and from public hosts alone."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_cli.inputs import public_network
from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.fetch import fetch
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.spool import Spool
from tests.serve.conftest import Post

PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:1::1", "2001:db8::1",
)  # fmt: skip
RECORDING = b"RIFF and so on"


class Site(BaseHTTPRequestHandler):
    """A site with a recording, an endless one, and ways to places that are not public."""

    hosts: list[str] = []  # noqa: RUF012  (of all requests)

    def do_GET(self) -> None:
        self.hosts.append(self.headers["host"])
        target = {
            "/metadata": "http://169.254.169.254/latest",
            "/file": "file:///etc/passwd",
            "/loop": "/loop",
            "/moved": "/recording",
            "/bad": "http://[::1",
        }.get(self.path)
        is_nowhere = self.path == "/nowhere"  # a redirect without a place
        self.send_response(302 if target or is_nowhere else 404 if self.path == "/missing" else 200)
        if target:
            self.send_header("location", target)
        self.end_headers()
        if self.path == "/recording":
            self.wfile.write(RECORDING)
        if self.path == "/large":
            self.wfile.write(bytes(3000))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A site on this machine, which counts as public for the test."""
    is_public = public_network.is_public
    monkeypatch.setattr(
        public_network, "is_public", lambda ip: str(ip) == "127.0.0.1" or is_public(ip)
    )
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def get(url: str) -> bytes:
    spool = Spool(None, 10**6)
    limits = Limits(upload_bytes=2000, idle_seconds=5)
    with asyncio.run(fetch(url, spool, limits)) as upload:
        upload.file.seek(0)
        return upload.file.read()


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_address_is_public(address: str) -> None:
    with pytest.raises(public_network.ForbiddenAddressError):
        public_network.public_ips(address)


def test_public_addresses_are() -> None:
    for address in ("1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert len(public_network.public_ips(address)) == 1


def test_a_recording_is_fetched(site: str) -> None:
    assert get(f"{site}/recording") == get(f"{site}/moved") == RECORDING


@pytest.mark.parametrize(
    "path", ["/metadata", "/file", "/loop", "/missing", "/large", "/bad", "/nowhere"]
)
def test_what_a_site_may_not_do(site: str, path: str) -> None:
    with pytest.raises(ApiError) as refused:
        get(f"{site}{path}")
    assert refused.value.status == (413 if path == "/large" else 400)


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/a", "file:///etc/passwd", "http://me:you@example.org", "http://", "a",
     "http://localhost/a", "http://[::1]/a", "http://example.org:99999/a", "http://0x7f.1/a",
     "http://[::1", "http://a..b/", "http://\u2028/"],
)  # fmt: skip
def test_what_is_no_public_address(url: str) -> None:
    with pytest.raises(ApiError) as refused:
        get(url)
    assert refused.value.param == "url"


def test_a_second_answer_changes_nothing(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name leads to a public address first, and to another one whenever it is asked again."""
    answers = ["127.0.0.1", "10.0.0.1"]
    port = int(site.rpartition(":")[2])
    lookup_address = socket.getaddrinfo

    def lookup(host: str, *given: Any, **named: Any) -> list[Any]:
        if host != "rebinding.test":
            return lookup_address(host, *given, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert get(f"http://rebinding.test:{port}/recording") == RECORDING
    assert answers == ["10.0.0.1"]
    assert Site.hosts[-1] == f"rebinding.test:{port}"
    with pytest.raises(ApiError):
        get(f"http://rebinding.test:{port}/recording")


def test_a_server_fetches_nothing_by_itself(post: Post) -> None:
    answer = post(recording=None, url="https://example.org/a.mp3")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "url")


def test_a_playlist_opens_nothing(post: Post, jfk: Path) -> None:
    lines = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{jfk}\n#EXT-X-ENDLIST\n"
    for playlist in (lines, f"ffconcat version 1.0\nfile '{jfk}'\n"):
        answer = post(recording=playlist.encode())
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
