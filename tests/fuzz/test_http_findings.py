"""Findings of the campaign against the server, as the smallest request that shows each."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from maxwhisper_cli.serve.form import read_form
from maxwhisper_cli.serve.guard import Access
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.service import drain
from maxwhisper_cli.serve.spool import Spool
from tests.fuzz.http_bodies import application, held, run_http_bodies
from tests.serve.test_form import FILE, body, request_of


def test_requests(tmp_path: Path) -> None:
    campaign = run_http_bodies(tmp_path, seed=1, n_cases=60)
    assert (campaign.n_cases, campaign.findings) == (60, {})


def session(**fields: object) -> str:
    update = {"type": "transcription", "audio": {"input": fields}}
    return json.dumps({"type": "session.update", "session": update, "event_id": "mine"})


EVENTS: dict[str | bytes, str | None] = {
    b"\xff": None,
    "": None,
    "[" * 100_000: None,
    "9" * 5000: None,
    json.dumps({"type": "\ud800", "event_id": "\ud800"}): "type",
    session(format={"type": []}): "session.audio.input.format.type",
    session(transcription={"languages": 1}): "session.audio.input.transcription.languages",
    session(transcription={"keywords": [1]}): "session.audio.input.transcription.keywords",
    session(transcription={"delay": []}): "session.audio.input.transcription.delay",
    session(transcription={"prompt": 5}): "session.audio.input.transcription.prompt",
}


def test_events_of_a_wrong_kind_are_refused_and_the_session_goes_on(tmp_path: Path) -> None:
    kind = {str: "text", bytes: "bytes"}
    messages = [{"type": "websocket.receive", kind[type(each)]: each} for each in EVENTS]

    async def work() -> list[dict[str, Any]]:
        async with application(tmp_path) as (app, _):
            return await held(app, [{"query": b"intent=transcription"}, *messages])

    _, created, *errors = asyncio.run(work())
    assert json.loads(created["text"])["type"] == "session.created"
    found = [json.loads(each["text"]) for each in errors]
    assert [each["type"] for each in found] == ["error"] * len(EVENTS)
    assert [each["error"]["param"] for each in found] == list(EVENTS.values())


def test_the_reason_of_an_end_is_short_enough(tmp_path: Path) -> None:
    async def work() -> list[dict[str, Any]]:
        async with application(tmp_path) as (app, _):
            return await held(app, [{"query": f"model={quote('世' * 60)}".encode()}])

    last = asyncio.run(work())[-1]
    assert (last["type"], last["code"]) == ("websocket.close", 1011)
    assert last["reason"].startswith("the model '世世")


@pytest.mark.parametrize("name", ["host", "origin"])
def test_half_an_address_is_refused(name: str) -> None:
    """It raised, since `urlsplit` does."""
    from starlette.datastructures import Headers

    from maxwhisper_cli.serve.errors import ApiError

    headers = Headers({"host": "localhost", name: "[::1" if name == "host" else "http://[::1"})
    check = Access().check_host if name == "host" else Access().check_origin
    with pytest.raises(ApiError):
        check(headers)


def test_a_refusal_does_not_wait_behind_the_last_block() -> None:
    """A form of one block that is refused was answered five seconds late."""
    whole = body((FILE, b"1"), (FILE, b"2"))
    request = request_of([whole])

    async def work() -> None:
        with pytest.raises(Exception, match="several files"):
            await read_form(request, Spool(None, 10_000), Limits())
        async with asyncio.timeout(1):
            await drain(request)

    asyncio.run(work())
