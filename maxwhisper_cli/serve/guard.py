"""Guard in front of all routes: keys, hosts and origins, safe headers, slow readers.

| a request is refused | with |
| --- | --- |
| without one of the keys, if there are keys | 401 |
| for another host name than the server's, if it listens on this machine alone | 403 |
| from a page of another origin, unless that origin was named | 403 |

The second and third keep pages of the web from using a server on the reader's own machine.
"""

import asyncio
import hmac
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maxwhisper_cli.serve.errors import ApiError, SlowReaderError

OPEN_PATHS = frozenset({"/", "/health", "/healthz", "/readyz", "/docs", "/openapi.json"})
"""Paths that need no key: they say nothing of a user's."""
OPEN_FOLDER = "/static/"
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine that no other one reaches."""
_PROTOCOL_KEY = "openai-insecure-api-key."
_METHODS = "GET, POST, OPTIONS"
_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
)


@dataclass(frozen=True, slots=True)
class Access:
    """Rules on who may use the server."""

    keys: tuple[str, ...] = ()
    """Keys of which each request needs one; none lets everybody in."""
    is_local: bool = True
    """True if the server listens on this machine alone."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of other pages that may use it, such as `https://example.org`."""
    hosts: tuple[str, ...] = ()
    """Further names of the server."""

    def check_key(self, headers: Headers) -> None:
        """Checks the key of a request, in a time that does not depend on the keys.

        Raises:
            ApiError: It has none of them.
        """
        if not self.keys:
            return
        given = sha256(_given_key(headers).encode()).digest()
        is_known = False
        for key in self.keys:
            is_known |= hmac.compare_digest(given, sha256(key.encode()).digest())
        if not is_known:
            raise ApiError(
                401,
                "the API key is missing or wrong: send it as Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )

    def check_host(self, headers: Headers) -> None:
        """Checks the name by which the server was called.

        Raises:
            ApiError: It is another than that of this machine.
        """
        if not self.is_local:
            return
        name = _host(f"//{headers.get('host', '')}")
        if name not in LOCAL_HOSTS and name not in self.hosts:
            raise ApiError(403, "this server answers to localhost alone", code="wrong_host")

    def check_origin(self, headers: Headers) -> str | None:
        """Returns the origin of another page that may use the server; None for its own pages.

        Raises:
            ApiError: It may not.
        """
        origin = headers.get("origin")
        if origin is None or origin.partition("//")[2] == headers.get("host"):
            return None
        if origin in self.allowed_origins or "*" in self.allowed_origins:
            return origin
        raise ApiError(403, "pages of other origins may not use this server", code="wrong_origin")


def _host(url: str) -> str:
    """Returns the name in an address; empty without one."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # half an address of IPv6
        return ""


def _given_key(headers: Headers) -> str:
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return key.strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(_PROTOCOL_KEY):  # browsers can send nothing else
            return protocol.strip().removeprefix(_PROTOCOL_KEY)
    return ""


class Guard:
    """Application around another one."""

    def __init__(self, app: ASGIApp, access: Access, idle_seconds: float) -> None:
        """Stores the arguments.

        Args:
            app: The application.
            access: Rules.
            idle_seconds: Time within which a client must take a block of the answer.
        """
        self._app = app
        self._access = access
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin: str | None = None
        is_http = scope["type"] == "http"
        try:
            self._access.check_host(headers)
            origin = self._access.check_origin(headers)
            path = scope["path"]
            is_asking = is_http and scope["method"] == "OPTIONS" and origin is not None
            is_open = path in OPEN_PATHS or path.startswith(OPEN_FOLDER) or is_asking
            if not is_open:
                self._access.check_key(headers)
        except ApiError as error:
            if is_http:
                await error.response()(scope, receive, self._guarded(send, origin))
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": error.message})
            return
        if is_asking:
            await _allow(headers)(scope, receive, self._guarded(send, origin))
        else:
            await self._app(scope, receive, self._guarded(send, origin) if is_http else send)

    def _guarded(self, send: Send, origin: str | None) -> Send:
        """Returns a function that adds safe headers, and gives up on a client that stands still."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), origin)
            try:
                await asyncio.wait_for(send(message), self._idle_seconds)
            except TimeoutError as error:
                raise SlowReaderError from error

        return send_guarded


def _add_headers(headers: MutableHeaders, origin: str | None) -> None:
    headers.setdefault("x-request-id", f"req_{uuid.uuid4().hex}")
    for name, value in _HEADERS:
        headers.setdefault(name, value)
    headers.setdefault("cache-control", "no-store")
    if origin is not None:
        headers["access-control-allow-origin"] = origin
        headers["cross-origin-resource-policy"] = "cross-origin"
        headers.add_vary_header("origin")


def _allow(headers: Headers) -> ASGIApp:
    """Returns the answer to a browser that asks before it sends a request."""
    from starlette.responses import Response

    return Response(
        status_code=204,
        headers={
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": headers.get("access-control-request-headers", ""),
            "access-control-max-age": "600",
        },
    )


def read_keys(text: str) -> Sequence[str]:
    """Returns the keys of a file: one on each line, without empty lines and # comments."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
