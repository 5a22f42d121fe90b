"""A full queue, and SIGTERM in the middle of the work."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.registry import ModelRegistry
from maxwhisper_cli.serve.service import Service
from maxwhisper_cli.serve.spool import Spool
from tests.serve.conftest import RunningServer, running


def wait_for(condition: object, server: RunningServer) -> None:
    """Waits until a function is true."""
    assert callable(condition)
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"it never came: {server.lines}")


def in_flight(client: openai.OpenAI) -> int:
    text = client.get("/../metrics", cast_to=str)
    return int(float(text.split("\nmaxwhisper_decoding ")[1].split()[0]))


def test_what_is_decoded_ends_and_the_rest_is_refused(sonnet: Path, jfk: Path) -> None:
    """One server, since each costs some seconds: first its queue is full, then it is stopped."""
    texts: list[str] = []
    with (
        running("--max-queue", "1", "--keep-alive", "-1", "--stop-seconds", "50") as server,
        server.client(max_retries=0) as client,
        server.client(max_retries=20) as patient,
    ):

        def transcribe() -> None:
            done = client.audio.transcriptions.create(
                model="tiny.en", file=sonnet, extra_body={"beam_size": 1}
            )
            texts.append(done.text)

        worker = threading.Thread(target=transcribe)
        worker.start()
        wait_for(lambda: in_flight(client) == 1, server)
        with pytest.raises(openai.RateLimitError) as refused:
            client.audio.transcriptions.create(model="tiny.en", file=jfk)
        assert int(refused.value.response.headers["retry-after"]) > 0
        done = patient.audio.transcriptions.create(
            model="tiny.en", file=jfk, extra_body={"beam_size": 1}
        )
        assert len(texts) == 1, "it came back after the one that it waited for"
        assert "my fellow Americans" in done.text
        worker.join()
        worker = threading.Thread(target=transcribe)
        worker.start()
        wait_for(lambda: in_flight(client) == 1, server)
        assert server.stop() == 0
        worker.join()
        with pytest.raises(openai.APIConnectionError):
            client.models.list()
    assert len(texts) == 2
    assert all("From fairest creatures" in text for text in texts)
    assert [line for line in server.lines if "error" in line or "Traceback" in line] == []


def test_what_does_not_end_in_time_is_refused(tmp_path: Path) -> None:
    """Its task is cancelled, which would be an error of the server else."""
    models = ModelRegistry(["tiny.en"], refuse, refuse, -1)
    service = Service(models, Limits(), Spool(tmp_path, 1000))

    async def wait() -> None:
        async with service.place():
            await asyncio.sleep(100)

    async def stop(*, is_stopping: bool) -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        models.is_stopping = is_stopping
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stop(is_stopping=False))
    with pytest.raises(ApiError) as refused:
        asyncio.run(stop(is_stopping=True))
    assert (refused.value.status, service.n_in_flight) == (503, 0)


def refuse(_model: object) -> Any:
    raise AssertionError("nothing is loaded here")
