"""Recordings by address, where the server was started with `--allow-url`: public hosts alone.

A host's addresses are looked up once, each of them must be public, and the connection goes to one
of those: a second answer of the name server changes nothing. Redirects are followed one by one,
with the same checks. Proxies of the environment are not used.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx2

from maxwhisper_cli.inputs import public_network
from maxwhisper_cli.serve.errors import ApiError, invalid
from maxwhisper_cli.serve.form import too_large
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.spool import Spool, Upload

_PORTS: Final = {"http": 80, "https": 443}
_MAX_REDIRECTS: Final = 5
_MAX_URL: Final = 4096
_EMBEDDED: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""Networks of IPv6 that lead to addresses of IPv4 (RFC 6052, RFC 8215)."""


async def fetch(url: str, spool: Spool, limits: Limits) -> Upload:
    """Returns the content of an address as an upload.

    Raises:
        ApiError: It is no public address of http or https, or cannot be fetched.
    """
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            async with _opened(url, limits) as response:
                if response.is_redirect:
                    url = urljoin(url, response.headers["location"])
                    continue
                if response.status_code != 200:
                    raise _refused(f"its server answers {response.status_code}")
                return await _stored(response, spool, limits)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _refused(f"it cannot be fetched: {type(error).__name__}") from error
    raise _refused(f"it leads to more than {_MAX_REDIRECTS} others")


@asynccontextmanager
async def _opened(url: str, limits: Limits) -> AsyncIterator[httpx2.Response]:
    """Opens an address on the host that was checked, under the name that was given."""
    host, port, address = await _checked(url)
    shown = f"[{address}]" if ":" in address else address
    placed = httpx2.URL(url).copy_with(host=shown, port=port)
    netloc = urlsplit(url).netloc
    timeout = httpx2.Timeout(limits.idle_seconds)
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=timeout) as client,
        client.stream(
            "GET",
            placed,
            headers={"host": netloc, "accept-encoding": "identity"},
            extensions={"sni_hostname": host},
        ) as response,
    ):
        yield response


async def _checked(url: str) -> tuple[str, int, str]:
    """Returns host, port and a public address of it.

    Raises:
        ApiError: The host has another one, or the address is none of http or https.
    """
    parts = urlsplit(url)
    host = parts.hostname
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
    is_plain = len(url) <= _MAX_URL and "@" not in parts.netloc and url.isprintable()
    if parts.scheme not in _PORTS or not host or not port or not is_plain:
        raise _refused("it must be an address of http or https, without a user's name")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _refused("its host is not known") from error
    addresses = [str(each[4][0]) for each in found]
    if not addresses or not all(map(is_public, addresses)):
        raise _refused("its host is not a public one")
    return host, port, addresses[0]


def is_public(text: str) -> bool:
    """Returns True for an address of the public internet, unless a tunnel leads there."""
    address = ipaddress.ip_address(text.partition("%")[0])
    is_tunnelled = isinstance(address, ipaddress.IPv6Address) and (
        address.teredo is not None or any(address in network for network in _EMBEDDED)
    )
    return not is_tunnelled and public_network.is_public(address)


async def _stored(response: httpx2.Response, spool: Spool, limits: Limits) -> Upload:
    upload = spool.new()
    try:
        async for block in response.aiter_raw():
            upload.write(block)
            _check_size(upload, limits)
    except BaseException:
        upload.close()
        raise
    return upload


def _check_size(upload: Upload, limits: Limits) -> None:
    if upload.n_bytes > limits.upload_bytes:
        raise too_large(limits)


def _refused(reason: str) -> ApiError:
    return invalid(f"url: {reason}", "url", "invalid_url")
