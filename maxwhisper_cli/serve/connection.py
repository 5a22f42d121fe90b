"""Connections: no more than a number of them, and none that only pretends to send a request."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class LimitedProtocol(H11Protocol):
    """A connection with limits."""

    max_connections: ClassVar[int]
    """Connections above which a new one is closed at once."""
    idle_seconds: ClassVar[float]
    """Time within which the header of a request has to come."""
    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  (uvicorn's)
        """Accepts a connection, or closes it."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.close()
            return
        self._expect_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends a connection."""
        if self._header_timer is not None:
            self._header_timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Ends a request; another one may follow."""
        super().on_response_complete()
        self._expect_header()

    def handle_websocket_upgrade(self, event: Any) -> None:  # noqa: ANN401  (h11's)
        """Gives the connection to another protocol."""
        if self._header_timer is not None:
            self._header_timer.cancel()
        super().handle_websocket_upgrade(event)

    def _expect_header(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
        self._header_timer = self.loop.call_later(self.idle_seconds, self._check_header)

    def _check_header(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def limited_protocol(max_connections: int, idle_seconds: float) -> type[LimitedProtocol]:
    """Returns the class of connections with these limits."""
    limits = {"max_connections": max_connections, "idle_seconds": idle_seconds}
    return type("LimitedConnection", (LimitedProtocol,), limits)
