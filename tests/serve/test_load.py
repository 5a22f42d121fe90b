"""Many clients at once: none is lost, none gets another's text, and memory stays flat."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from tests.serve.conftest import KEY, RunningServer, running

pytestmark = pytest.mark.full  # some minutes on two cores

URL = "/v1/audio/transcriptions"
N_UPLOADS = 200
N_REQUESTS = 2000
N_WARM = 400
"""Requests after which memory is measured first: caches are full then."""
AT_ONCE = 16
MAX_GROWTH = 1.05
GARBAGE = np.random.default_rng(0).bytes(100_000)


@dataclass
class Visit:
    """A client's request, and what came of it."""

    kind: str
    recording: bytes
    status: int = 0
    text: str = ""


@dataclass
class Crowd:
    """Clients of one server."""

    client: httpx2.AsyncClient
    visits: list[Visit] = field(default_factory=list)

    async def send(self, visit: Visit) -> None:
        """Sends a whole recording, and waits for its text."""
        data = {"response_format": "text", "beam_size": "1"}
        answer = await self.client.post(URL, files={"file": ("a", visit.recording)}, data=data)
        visit.status, visit.text = answer.status_code, answer.text

    async def cut_off(self, visit: Visit) -> None:
        """Sends less than was announced, and leaves."""

        async def part() -> Any:
            yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield visit.recording[:5000]
            raise ConnectionAbortedError

        headers = {"content-type": "multipart/form-data; boundary=b", "content-length": "900000"}
        with pytest.raises(ConnectionAbortedError):
            await self.client.post(URL, content=part(), headers=headers)

    async def leave(self, visit: Visit) -> None:
        """Sends a recording, and leaves before its text comes."""
        task = asyncio.create_task(self.send(visit))
        await asyncio.sleep(random.Random(len(self.visits)).uniform(0.5, 20))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def recordings(shared_audio: Path, jfk: Path, sonnet: Path) -> dict[str, bytes]:
    """Recordings by kind, from 4 s to 11 minutes."""
    paths = {
        "jfk": jfk,
        "sonnet": sonnet,
        "arctic": shared_audio / "en_arctic_a0007.wav",
        "libri": shared_audio / "en_libri_61-70968-0000.flac",
        "long": shared_audio / "en_long_mix.wav",
    }
    return {kind: path.read_bytes() for kind, path in paths.items()}


@pytest.fixture(scope="module")
def loaded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEY, encoding="utf-8")
    with running("--api-key-file", str(keys), "--max-queue", "300") as server:
        yield server


def run_crowd(server: RunningServer, work: Callable[[Crowd], Coroutine[Any, Any, None]]) -> None:
    """Runs clients to their end."""

    async def run() -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(
            base_url=server.address, headers=headers, timeout=None, limits=limits
        ) as client:
            await work(Crowd(client))

    asyncio.run(run())


def test_two_hundred_uploads_at_once(
    loaded_server: RunningServer, recordings: dict[str, bytes]
) -> None:
    counts = {"jfk": 90, "sonnet": 30, "arctic": 30, "libri": 20, "long": 4}
    counts |= {"garbage": 10, "cut off": 8, "left": 8}
    assert sum(counts.values()) == N_UPLOADS
    alone: dict[str, str] = {}

    async def visit_all(crowd: Crowd) -> None:
        for kind, recording in recordings.items():
            visit = Visit(kind, recording)
            await crowd.send(visit)
            alone[kind] = visit.text
        for kind, n in counts.items():
            data = recordings.get(kind, GARBAGE if kind == "garbage" else recordings["sonnet"])
            crowd.visits += [Visit(kind, data) for _ in range(n)]
        random.Random(0).shuffle(crowd.visits)
        how = {"cut off": crowd.cut_off, "left": crowd.leave}
        await asyncio.gather(*(how.get(each.kind, crowd.send)(each) for each in crowd.visits))
        statuses = Counter((each.kind, each.status) for each in crowd.visits)
        for kind in recordings:
            assert statuses[kind, 200] == counts[kind], statuses
        assert statuses["garbage", 400] == counts["garbage"], statuses
        wrong = [v.kind for v in crowd.visits if v.status == 200 and v.text != alone[v.kind]]
        assert wrong == []
        await wait_until_idle(crowd)

    run_crowd(loaded_server, visit_all)


async def wait_until_idle(crowd: Crowd) -> None:
    for _ in range(1200):
        text = (await crowd.client.get("/metrics")).text
        names = ("in_flight", "decoding", "waiting", "spool_bytes")
        if all(re.search(rf"^maxwhisper_{name} 0.0$", text, re.M) for name in names):
            return
        await asyncio.sleep(0.1)
    pytest.fail(text)


def resident_bytes(server: RunningServer) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_memory_is_flat(loaded_server: RunningServer, recordings: dict[str, bytes]) -> None:
    measured: list[int] = []

    async def visit_often(crowd: Crowd) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def visit_once(index: int) -> None:
            async with places:
                visit = Visit("arctic", recordings["arctic"])
                await crowd.send(visit)
                assert visit.status == 200
            if index in {N_WARM, N_REQUESTS - 1}:
                measured.append(resident_bytes(loaded_server))

        await asyncio.gather(*map(visit_once, range(N_REQUESTS)))
        await wait_until_idle(crowd)
        measured.append(resident_bytes(loaded_server))

    run_crowd(loaded_server, visit_often)
    print("resident MB:", [round(each / 1e6, 1) for each in measured])  # noqa: T201
    assert measured[-1] <= MAX_GROWTH * measured[0], measured


def test_it_stops_in_the_middle(loaded_server: RunningServer, recordings: dict[str, bytes]) -> None:
    """The last test of the file: those that are decoded get their text, others are refused."""

    async def visit_and_stop(crowd: Crowd) -> None:
        visits = [Visit("sonnet", recordings["sonnet"]) for _ in range(40)]
        tasks = [asyncio.create_task(crowd.send(each)) for each in visits]
        await asyncio.sleep(3)
        code = await asyncio.to_thread(loaded_server.stop)
        failures = await asyncio.gather(*tasks, return_exceptions=True)
        assert code == 0
        assert all(each is None or isinstance(each, httpx2.TransportError) for each in failures)
        statuses = Counter(each.status for each in visits)
        assert set(statuses) <= {200, 503, 0}, statuses
        assert statuses[200] > 0
        print(statuses)  # noqa: T201

    run_crowd(loaded_server, visit_and_stop)
    assert not any("Traceback" in line for line in loaded_server.lines)
