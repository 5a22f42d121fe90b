"""HTTP clients that reach only public addresses, for URLs that somebody else chose.

A name is resolved once, each of its IP addresses must be public, and the connection goes to the
first of these, so that a name which answers differently the next time gains nothing. Each request
is checked, those of redirects too. Behind a proxy of the environment, which resolves names itself,
names are checked as this machine resolves them, and those that it cannot resolve are left to the
proxy.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    import httpx2

_SCHEMES: Final = ("http", "https")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAT64: Final = ipaddress.ip_network("64:ff9b:1::/48")
"""Addresses of IPv4 in IPv6: anywhere (RFC 6052), and as a network pleases (RFC 8215)."""
_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 30.0
_MAX_REDIRECTS: Final = 10

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenAddressError(MaxWhisperError):
    """An address is not on the public network, or is no address of HTTP."""


class UnresolvedNameError(MaxWhisperError):
    """A name has no IP address."""


def make_client(*, allow_private: bool = False) -> "httpx2.Client":
    """Returns a client that follows redirects; close it.

    Its requests raise ForbiddenAddressError or UnresolvedNameError besides httpx2's errors.

    Args:
        allow_private: True allows every address.

    Raises:
        OSError, ValueError, ImportError: The environment's proxies or certificates are wrong.
    """
    import httpx2

    timeout = httpx2.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    if allow_private:
        return httpx2.Client(
            timeout=timeout,
            follow_redirects=True,
            max_redirects=_MAX_REDIRECTS,
            event_hooks={"request": [lambda request: _require_http(request.url)]},
        )
    if _has_proxy():
        return httpx2.Client(
            timeout=timeout,
            follow_redirects=True,
            max_redirects=_MAX_REDIRECTS,
            event_hooks={"request": [lambda request: _check_behind_proxy(request.url)]},
        )
    return httpx2.Client(
        timeout=timeout,
        follow_redirects=True,
        max_redirects=_MAX_REDIRECTS,
        transport=_public_transport(),
    )


def check_url(url: str) -> None:
    """Checks an address before anything is sent to it; `make_client` checks it again.

    Raises:
        ForbiddenAddressError: It is no address of HTTP, or leads to a private network.
        UnresolvedNameError: Its name is not known.
    """
    import httpx2

    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ForbiddenAddressError(f"{url} is no address: {error}") from error
    _require_http(parsed)
    public_ips(parsed.host)


def public_ips(host: str) -> list[str]:
    """Returns the IP addresses of a host.

    Raises:
        ForbiddenAddressError: One of them is not public.
        UnresolvedNameError: There are none.
    """
    addresses = _resolve(host)
    for address in addresses:
        if not is_public(address):
            is_name = host.strip("[]") != str(address)
            raise ForbiddenAddressError(
                f"{host} is {f'{address}, which is ' * is_name}no public address; "
                "--allow-private allows private ones"
            )
    return [str(address) for address in addresses]


def is_public(address: IpAddress) -> bool:
    """Returns True if an IP address is one of the public network, also in its IPv6 disguises."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local or address in _LOCAL_NAT64:
            return False
    is_special = address.is_multicast or address.is_unspecified or address.is_reserved
    return address.is_global and not is_special


def _resolve(host: str) -> list[IpAddress]:
    name = host.strip("[]").partition("%")[0]
    try:
        found: Sequence[tuple[object, ...]] = socket.getaddrinfo(
            name, None, type=socket.SOCK_STREAM
        )
        texts = [str(entry[4][0]) for entry in found]  # type: ignore[index]
        return [ipaddress.ip_address(text.partition("%")[0]) for text in dict.fromkeys(texts)]
    except (OSError, UnicodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnresolvedNameError(f"{host or 'an empty name'} is not known: {reason}") from error


def _require_http(url: "httpx2.URL") -> None:
    if url.scheme not in _SCHEMES or not url.host:
        raise ForbiddenAddressError(f"{url} is no http or https address")


def _has_proxy() -> bool:
    import urllib.request

    return bool({"http", "https", "all"} & urllib.request.getproxies().keys())


def _check_behind_proxy(url: "httpx2.URL") -> None:
    _require_http(url)
    try:
        public_ips(url.host)
    except UnresolvedNameError:
        return  # the proxy may know it


def _public_transport() -> "httpx2.BaseTransport":
    """Returns a transport that connects to the addresses which it has checked."""
    import httpx2

    class PublicTransport(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            url = request.url
            _require_http(url)
            _send_to(request, public_ips(url.host)[0])
            try:
                return super().handle_request(request)
            finally:
                request.url = url

    return PublicTransport()


def make_async_client(idle_seconds: float, max_redirects: int) -> "httpx2.AsyncClient":
    """Returns a client for a server's event loop, which uses no proxies; close it.

    It checks and follows as that of `make_client` does, and raises the same errors.

    Args:
        idle_seconds: Longest pause of a connection.
        max_redirects: Most redirects that it follows.
    """
    import httpx2

    class PublicTransport(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            url = request.url
            _require_http(url)
            _send_to(request, (await asyncio.to_thread(public_ips, url.host))[0])
            try:
                return await super().handle_async_request(request)
            finally:
                request.url = url

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(idle_seconds),
        follow_redirects=True,
        max_redirects=max_redirects,
        transport=PublicTransport(trust_env=False),
        trust_env=False,
    )


def _send_to(request: "httpx2.Request", ip: str) -> None:
    """Lets a request go to an IP address, under the name that it has."""
    request.extensions = {**request.extensions, "sni_hostname": request.url.host}
    request.url = request.url.copy_with(host=ip)  # the header Host keeps the name
