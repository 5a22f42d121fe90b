"""Errors of a request, in the shape that OpenAI's clients parse.

`{"error": {"message", "type", "param", "code"}}`, with the status and headers that make a client
retry, or not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.responses import JSONResponse

INVALID = "invalid_request_error"
BUSY = "rate_limit_error"
SERVER = "server_error"


class SlowReaderError(Exception):
    """A client does not take its answer."""


@dataclass(eq=False)  # frozen ones take no traceback
class ApiError(Exception):
    """Refusal of a request."""

    status: int
    message: str
    param: str | None = None
    """Field of the request that caused it."""
    code: str | None = None
    kind: str = INVALID
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, dict[str, str | None]]:
        """Returns OpenAI's error object."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    def response(self) -> JSONResponse:
        """Returns the answer."""
        return JSONResponse(self.body(), self.status, headers=dict(self.headers))


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Returns the error of a field that cannot be honoured."""
    return ApiError(400, message, param, code)


def busy(message: str, retry_after: int) -> ApiError:
    """Returns the error of a full queue; clients come back after some seconds."""
    headers = {"retry-after": str(retry_after)}
    return ApiError(429, message, code="queue_full", kind=BUSY, headers=headers)


def unavailable(message: str, *, retry_after: int | None = None) -> ApiError:
    """Returns the error of a server that cannot answer; without a delay clients do not retry."""
    headers = {"x-should-retry": "false"}
    if retry_after is not None:
        headers = {"retry-after": str(retry_after)}
    return ApiError(503, message, code="unavailable", kind=SERVER, headers=headers)
