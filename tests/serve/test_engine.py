"""The engine by itself, on a scripted model: its threads, and what ends a job."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import soundfile

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.recording import RecordingReader
from maxwhisper_cli.serve.audio_request import AudioRequest, read_request
from maxwhisper_cli.serve.engine import Engine, StoppingError
from maxwhisper_cli.serve.fields import parse_fields
from maxwhisper_cli.serve.jobs import Job, TooLongError
from maxwhisper_cli.serve.spool import Spool
from maxwhisper_cli.speech.network_loader import NetworkLoader
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.stopwatch import STOPPED
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support.scripted import BEGIN, Script, window
from tests.support.scripted_rows import RowImplementation
from tests.support.sound import tone

TOKENIZER = get_tokenizer(False)
MAX_SECONDS = 100.0
END_SECONDS = 20


def say(request: DecodeRequest) -> DecodedWindow:
    """The prompt, which names the recording, and the window's place."""
    words = TOKENIZER.decode(request.prompt[1 : request.sot_index]).split()
    text = TOKENIZER.encode(f" {words[0] if words else '?'} {request.search.seed[1]}")
    return window([BEGIN, *text, BEGIN + 1000, BEGIN + 1000])


def saying_after(may_go_on: threading.Event) -> Callable[[DecodeRequest], DecodedWindow]:
    """A script that says its text once it may."""

    def wait(request: DecodeRequest) -> DecodedWindow:
        may_go_on.wait(END_SECONDS)
        return say(request)

    return wait


def wanted(name: str) -> AudioRequest:
    fields = [("prompt", name), ("temperature_increment_on_fallback", "0"), ("beam_size", "1")]
    fields.append(("condition_on_previous_text", "false"))
    return read_request(parse_fields([*fields, ("carry_initial_prompt", "true")]), "transcribe")


@asynccontextmanager
async def running(script: Script, max_opened_bytes: int = 2**30) -> AsyncIterator[Engine]:
    implementation = RowImplementation(script)
    reader = RecordingReader(implementation, NetworkLoader(is_offline=True), STOPPED)
    engine = Engine(implementation, reader, 3, 2, max_opened_bytes)
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


@pytest.fixture
def new_job(tmp_path: Path) -> Callable[[str, float], Job]:
    """Makes a job for a tone of some seconds, with an upload of its own."""
    spool = Spool(None, 2**30)

    def make(name: str, seconds: float) -> Job:
        path = tmp_path / "tone.wav"
        soundfile.write(path, tone(440, seconds, 16000), 16000)
        upload = spool.new()
        upload.write(path.read_bytes())
        job = Job(wanted(name), upload, MAX_SECONDS)
        make.spool = spool  # type: ignore[attr-defined]
        return job

    return make


async def text_of(job: Job) -> str:
    async with asyncio.timeout(END_SECONDS):
        async for event in job.events():
            if isinstance(event, Transcript):
                return event.text
    raise AssertionError


def test_each_job_gets_its_own_text(new_job: Callable[[str, float], Job]) -> None:
    async def work() -> None:
        async with running(say) as engine:
            jobs = {f"A{i}": new_job(f"A{i}", 5 + 7 * (i % 9)) for i in range(30)}
            for job in jobs.values():
                engine.submit(job)
            texts = await asyncio.gather(*map(text_of, jobs.values()))
            for i, (name, text) in enumerate(zip(jobs, texts, strict=True)):
                n_windows = -(-(5 + 7 * (i % 9)) // 20)
                assert text == "".join(f" {name} {2000 * n}" for n in range(n_windows))
            assert all(job.upload.file.closed for job in jobs.values())
            assert next(iter(jobs.values())).upload.spool.n_bytes == 0

    asyncio.run(work())


def test_errors_stay_with_their_job(new_job: Callable[[str, float], Job]) -> None:
    async def work() -> None:
        async with running(say) as engine:
            broken, long, good = new_job("B", 1), new_job("L", MAX_SECONDS + 1), new_job("G", 1)
            broken.upload.file.seek(0)
            broken.upload.file.write(b"noise" * 10_000)
            for job in (broken, long, good):
                engine.submit(job)
            with pytest.raises(Exception, match="is not audio"):
                await text_of(broken)
            with pytest.raises(TooLongError):
                await text_of(long)
            assert await text_of(good) == " G 0"

    asyncio.run(work())


def test_a_bug_ends_what_is_decoded_and_nothing_else(
    new_job: Callable[[str, float], Job], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def stumble(request: DecodeRequest) -> DecodedWindow:
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError
        return say(request)

    async def work() -> None:
        async with running(stumble) as engine:
            engine.submit(first := new_job("F", 50))
            with pytest.raises(ZeroDivisionError):
                await text_of(first)
            engine.submit(second := new_job("S", 1))
            assert await text_of(second) == " S 0"

    asyncio.run(work())
    assert "decoding failed" in caplog.text


def test_a_cancelled_job_is_forgotten(new_job: Callable[[str, float], Job]) -> None:
    may_go_on = threading.Event()

    async def work() -> None:
        async with running(saying_after(may_go_on)) as engine:
            engine.submit(job := new_job("C", 90))
            reading = asyncio.ensure_future(text_of(job))
            while not engine.n_active:
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            may_go_on.set()
            while engine.n_active:
                await asyncio.sleep(0.01)
            engine.submit(other := new_job("O", 1))
            assert await text_of(other) == " O 0"

    asyncio.run(work())


def test_recordings_wait_on_disk_where_memory_is_full(
    new_job: Callable[[str, float], Job],
) -> None:
    async def work() -> None:
        async with running(say, max_opened_bytes=1) as engine:
            jobs = [new_job(f"M{i}", 30) for i in range(8)]
            for job in jobs:
                engine.submit(job)
            texts = await asyncio.gather(*map(text_of, jobs))
            assert texts == [f" M{i} 0 M{i} 2000" for i in range(8)]

    asyncio.run(work())


def test_the_end_reaches_all(new_job: Callable[[str, float], Job]) -> None:
    may_go_on = threading.Event()

    async def work() -> None:
        async with running(saying_after(may_go_on)) as engine:
            jobs = [new_job(f"E{i}", 5) for i in range(6)]
            for job in jobs:
                engine.submit(job)
            while not engine.n_active:
                await asyncio.sleep(0.01)
            ending = asyncio.create_task(asyncio.to_thread(engine.close))
            await asyncio.sleep(0.05)
            may_go_on.set()
            found = await asyncio.gather(*map(text_of, jobs), return_exceptions=True)
            assert {type(each) for each in found} == {StoppingError}
            await ending
            engine.submit(late := new_job("late", 1))
            with pytest.raises(StoppingError):
                await text_of(late)

    asyncio.run(work())
