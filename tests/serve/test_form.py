"""Bodies of requests: read once, and not waited for when they are over."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.form import Form, read_form
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.service import drain
from maxwhisper_cli.serve.spool import Spool

PART = 'content-disposition: form-data; name="{}"'
FILE = PART.format("file") + '; filename="../../a.wav"'


def request_of(blocks: list[bytes]) -> Request:
    """A request whose client sends these blocks, and stays silent after them."""
    waiting = list(blocks)

    async def receive() -> dict[str, Any]:
        assert waiting, "it reads on behind the end of the body"
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    return Request({"type": "http", "headers": headers, "state": {}}, receive)


def body(*parts: tuple[str, bytes]) -> bytes:
    whole = b"".join(
        b"--b\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts
    )
    return whole + b"--b--\r\n"


def read(blocks: list[bytes], check: Callable[[Form, Spool], None], **limits: int) -> None:
    async def work() -> None:
        request, spool = request_of(blocks), Spool(None, 10_000)
        try:
            with await read_form(request, spool, Limits(**limits)) as form:
                check(form, spool)
        finally:
            await drain(request)
            assert spool.n_bytes == 0

    asyncio.run(work())


def test_a_form_in_blocks_of_any_size() -> None:
    whole = body((PART.format("prompt"), "Grüße".encode()), (FILE, b"\r\n--c sound" * 99))

    def check(form: Form, spool: Spool) -> None:
        assert form.fields == [("prompt", "Grüße")]
        assert form.upload is not None
        form.upload.file.seek(0)
        assert form.upload.file.read() == b"\r\n--c sound" * 99
        assert spool.n_bytes == form.upload.n_bytes

    for size in (1, 7, len(whole)):
        read([whole[i : i + size] for i in range(0, len(whole), size)], check)


@pytest.mark.parametrize(
    ("whole", "status", "param"),
    [
        (body((FILE, bytes(20_000))), 503, None),
        (body((FILE, b"1"), (FILE, b"2")), 400, "file"),
        (body((PART.format("prompt") + '; filename="p"', b"")), 400, "prompt"),
        (body((PART.format("prompt"), bytes(600))), 400, "prompt"),
        (body((PART.format("prompt"), b"\xff")), 400, "prompt"),
        (body(("content-disposition: form-data", b"")), 400, None),
        (body((PART.format("n" * 300), b"")), 400, None),
        (body(*[(PART.format("a"), b"")] * 5), 400, None),
        (body((FILE, b"1"))[:-8], 400, None),
        (b"no form", 400, None),
        (b"", 400, None),
    ],
)
def test_a_form_that_is_none(whole: bytes, status: int, param: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        read([whole, b""], lambda *_: None, field_bytes=500, fields=4)
    assert (refused.value.status, refused.value.param) == (status, param)
