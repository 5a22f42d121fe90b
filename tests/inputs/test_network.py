"""Public addresses only, also by redirects and names; downloads that break off, or are too much."""

import ipaddress
import socket
from typing import Any

import pytest

from maxwhisper_cli.inputs import public_network
from maxwhisper_cli.inputs.fetch import FetchLimits, fetched
from maxwhisper_cli.inputs.input import InputError
from maxwhisper_cli.inputs.public_network import (
    ForbiddenAddressError,
    UnresolvedNameError,
    check_url,
    is_public,
    make_client,
)
from tests.inputs.conftest import Page, Server
from weights.cache import cache_root

CONTENT = bytes(range(256)) * 4000
PRIVATE = FetchLimits(allow_private=True)


def content_of(url: str, limits: FetchLimits = PRIVATE) -> bytes:
    with fetched(url, limits) as path:
        return path.read_bytes()


def left_behind() -> list[str]:
    folder = cache_root() / "inputs"
    return sorted(p.suffix for p in folder.iterdir() if p.suffix != ".lock")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fd00::1",
        "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "ff02::1", "fec0::1",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a", "http://localhost/a", "http://[::1]/a", "http://2130706433/a",
        "http://0x7f.1/a", "ftp://1.1.1.1/a", "file:///etc/passwd", "http:///a", "http://[::ffff:10.0.0.1]",
    ],
)  # fmt: skip
def test_addresses_that_are_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises((ForbiddenAddressError, UnresolvedNameError)):
        check_url(url)
    with make_client() as client, pytest.raises((ForbiddenAddressError, UnresolvedNameError)):
        client.get(url)


def test_a_redirect_to_a_private_address_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 counts as public here, and 127.0.0.2 does not."""
    monkeypatch.setattr(public_network, "is_public", lambda ip: str(ip) == "127.0.0.1")
    server.pages["/a"] = Page(location=server.url("/b", "127.0.0.2"))
    server.pages["/b"] = Page(CONTENT)
    server.pages["/c"] = Page(location=server.url("/b"))
    with pytest.raises(ForbiddenAddressError, match=r"/a cannot be fetched: 127\.0\.0\.2 is"):
        content_of(server.url("/a"), FetchLimits())
    assert [path for _, path, _ in server.requests] == ["/a"]
    assert content_of(server.url("/c"), FetchLimits()) == CONTENT


def test_a_name_is_resolved_once_and_keeps_its_name(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is harmless when it is checked and private when it is used gains nothing."""
    answers = iter(["127.0.0.1", "10.9.9.9"])
    real = socket.getaddrinfo

    def resolve(host: str, *args: Any, **named: Any) -> Any:
        return real(next(answers) if host == "talks.example" else host, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(public_network, "is_public", lambda ip: str(ip) == "127.0.0.1")
    server.pages["/a"] = Page(CONTENT)
    assert content_of(server.url("/a", "talks.example"), FetchLimits()) == CONTENT
    assert server.requests[0][2]["host"] == f"talks.example:{server.port}"
    with pytest.raises(ForbiddenAddressError, match=r"10\.9\.9\.9"):
        content_of(server.url("/a", "talks.example"), FetchLimits())


def test_a_name_with_one_private_address_of_two_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(2, 1, 6, "", (ip, 0)) for ip in ("1.1.1.1", "192.168.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(ForbiddenAddressError, match=r"192\.168\.0\.1"):
        check_url("https://talks.example/a.mp3")


def test_a_broken_download_goes_on_where_it_broke(server: Server) -> None:
    server.pages["/a"] = Page(CONTENT, cut_after=[1000, 500_000])
    seen: list[tuple[int, int]] = []
    with fetched(server.url("/a"), PRIVATE, lambda *n: seen.append(n)) as path:
        assert path.read_bytes() == CONTENT
    ranges = [headers.get("range") for _, _, headers in server.requests]
    assert ranges == [None, "bytes=1000-", "bytes=501000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left_behind() == []


def test_the_next_run_goes_on_with_what_was_left(server: Server) -> None:
    server.pages["/a"] = Page(CONTENT, cut_after=[700, 0, 0, 0])
    with pytest.raises(InputError, match="700 bytes are kept, run again to go on"):
        content_of(server.url("/a"))
    assert left_behind() == [".json", ".part"]
    assert content_of(server.url("/a")) == CONTENT
    assert server.requests[-1][2]["range"] == "bytes=700-"


@pytest.mark.parametrize("change", ["another", "no ranges", "no version"])
def test_a_beginning_of_something_else_is_never_used(server: Server, change: str) -> None:
    etag = None if change == "no version" else '"1"'
    server.pages["/a"] = Page(b"old" * 9000, etag=etag, cut_after=[700, 0, 0, 0])
    with pytest.raises(InputError, match="cannot be fetched"):
        content_of(server.url("/a"))
    server.pages["/a"] = Page(CONTENT, etag='"2"' if change == "another" else etag)
    server.pages["/a"].takes_ranges = change != "no ranges"
    assert content_of(server.url("/a")) == CONTENT


@pytest.mark.parametrize("announces", [True, False])
def test_a_recording_that_is_too_large_is_refused(server: Server, announces: bool) -> None:
    server.pages["/a"] = Page(CONTENT, announces=announces)
    with pytest.raises(InputError, match=r"more than 0.001 MiB: --max-download-mb"):
        content_of(server.url("/a"), FetchLimits(max_bytes=1000, allow_private=True))
    assert left_behind() == []


def test_a_download_that_takes_too_long_ends(server: Server) -> None:
    server.pages["/a"] = Page(CONTENT)
    with pytest.raises(InputError, match="--max-download-seconds"):
        content_of(server.url("/a"), FetchLimits(max_seconds=-1, allow_private=True))


@pytest.mark.parametrize(
    ("kind", "message"),
    [("text/html; charset=utf-8", "is a web page"), ("application/rss+xml", "write feed:http")],
)
def test_a_page_is_no_recording(server: Server, kind: str, message: str) -> None:
    server.pages["/a"] = Page(b"<html>", kind)
    with pytest.raises(InputError, match=message):
        content_of(server.url("/a"))


def test_a_missing_page_is_asked_for_once(server: Server) -> None:
    with pytest.raises(InputError, match="the server answered 404 Not Found"):
        content_of(server.url("/gone"))
    assert len(server.requests) == 1


def test_redirects_end(server: Server) -> None:
    server.pages["/a"] = Page(location=server.url("/a"))
    with pytest.raises(InputError, match="cannot be fetched"):
        content_of(server.url("/a"))


def test_a_name_with_dots_stays_in_the_cache_folder(server: Server) -> None:
    server.pages["/x"] = server.pages["/../../x"] = Page(CONTENT)
    with fetched(server.url("/../../x"), PRIVATE) as path:
        assert path.parent == cache_root() / "inputs"
