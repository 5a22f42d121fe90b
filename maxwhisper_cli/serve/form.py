"""Forms of requests (multipart/form-data): text fields in order, and one file on disk.

A form is read block by block; sizes, counts and pauses are limited while it comes. What the fields
mean is said in `fields`.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from maxwhisper_cli.serve.errors import ApiError, invalid
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.spool import Spool, Upload
from weights.closing import Closing
from weights.whole_number import whole_number

_FORM = b"multipart/form-data"
_MAX_NAME_BYTES = 200
_MAX_HEADERS = 16


@dataclass(slots=True)
class Form(Closing):
    """Fields of a request; a context manager that removes its file."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    """Names and values, in order."""
    upload: Upload | None = None
    """The field `file`."""

    def close(self) -> None:
        """Removes the file; harmless when repeated."""
        if self.upload is not None:
            self.upload.close()


async def read_form(request: Request, spool: Spool, limits: Limits) -> Form:
    """Reads the form of a request to its end.

    Raises:
        ApiError: It is none, is cut off, too large or too slow.
        ClientDisconnect: The client left.
    """
    boundary = _boundary(request)
    _check_length(request, limits)
    form = Form()
    try:
        reader = _FormReader(form, boundary, spool, limits)
        async for block in _blocks(request, limits):
            reader.write(block)
        reader.finish()
    except BaseException:
        form.close()
        raise
    return form


def _boundary(request: Request) -> bytes:
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if kind != _FORM:
        raise ApiError(
            415,
            "send the request as multipart/form-data, with the recording as the field file",
            code="unsupported_content_type",
        )
    boundary = parameters.get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:  # RFC 2046, 5.1.1
        raise invalid("the content type has no boundary of 1 to 70 characters")
    return boundary


def too_large(limits: Limits) -> ApiError:
    """Returns the error of an upload above the limit."""
    return ApiError(
        413,
        f"the upload is larger than {limits.upload_bytes / 1e6:g} MB, the limit of this server",
        param="file",
        code="upload_too_large",
    )


def _check_length(request: Request, limits: Limits) -> None:
    length = whole_number(request.headers.get("content-length", ""))
    if length is not None and length > limits.upload_bytes:
        raise too_large(limits)


async def _blocks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yields the body; a pause that is too long is an error."""
    n_bytes = 0
    while not getattr(request.state, "is_read", False):
        try:
            message = await asyncio.wait_for(request.receive(), limits.idle_seconds)
        except TimeoutError as error:
            raise ApiError(
                408,
                f"the upload stood still for {limits.idle_seconds:g} s",
                code="upload_timeout",
                headers={"connection": "close"},
            ) from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        request.state.is_read = not message.get("more_body")
        block = message.get("body", b"")
        n_bytes += len(block)
        if n_bytes > limits.upload_bytes:
            raise too_large(limits)
        yield block


class _FormReader:
    """Parser of one form."""

    def __init__(self, form: Form, boundary: bytes, spool: Spool, limits: Limits) -> None:
        self._form = form
        self._spool = spool
        self._limits = limits
        self._header_name, self._header_value = bytearray(), bytearray()
        self._disposition = b""
        self._name = ""
        self._value = bytearray()
        self._upload: Upload | None = None
        self._n_fields = 0
        self._is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._take_header_name,
                "on_header_value": self._take_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
            max_header_count=_MAX_HEADERS,
        )

    def write(self, block: bytes) -> None:
        """Takes the next bytes of the form."""
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise invalid(f"the form cannot be read: {error}") from error

    def finish(self) -> None:
        """Checks that the form has come to its end."""
        if not self._is_complete:
            raise invalid("the upload is cut off: the boundary that ends the form is missing")

    def _begin_part(self) -> None:
        self._disposition, self._name, self._upload = b"", "", None
        self._value = bytearray()
        self._n_fields += 1
        if self._n_fields > self._limits.fields:
            raise invalid(f"the form has more than {self._limits.fields} fields")

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        name = parameters.get(b"name", b"")
        if not 0 < len(name) <= _MAX_NAME_BYTES:
            raise invalid("a field of the form has no name, or a very long one")
        self._name = _text(name, "the name of a field")
        if b"filename" not in parameters:
            return
        if self._name != "file":
            raise invalid(
                f"{self._name} is sent as a file: only the field file may be one", self._name
            )
        if self._form.upload is not None:
            raise invalid("there are several files: send one for each request", "file")
        self._upload = self._form.upload = self._spool.new()
        self._upload.name = parameters[b"filename"].decode("utf-8", "replace")

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        view = memoryview(data)[start:end]
        if self._upload is not None:
            self._upload.write(view)
            return
        self._value += view
        if len(self._value) > self._limits.field_bytes:
            raise invalid(
                f"{self._name} is longer than {self._limits.field_bytes:,} bytes", self._name
            )

    def _end_part(self) -> None:
        if self._upload is None:
            value = _text(bytes(self._value), self._name, self._name)
            self._form.fields.append((self._name, value))

    def _end(self) -> None:
        self._is_complete = True


def _text(data: bytes, label: str, param: str | None = None) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(f"{label} is not UTF-8", param) from error
