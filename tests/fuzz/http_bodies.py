"""Requests of random forms, headers and realtime events: never a failure of the server.

A case is a request against the application itself, or a session of a WebSocket. The model is a
real one of small random weights. A request is answered once, below 500, and an error is OpenAI's
JSON; a session ends by its client or by a refusal. Afterwards nothing is in flight and no upload is
left.
"""

import asyncio
import io
import json
import logging
import random
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import maxwhisper_cli
from maxwhisper_cli.recording import RecordingReader
from maxwhisper_cli.serve.app import make_app
from maxwhisper_cli.serve.engine import Engine
from maxwhisper_cli.serve.fields import SPECS
from maxwhisper_cli.serve.guard import Access
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.registry import ModelRegistry
from maxwhisper_cli.serve.service import Service
from maxwhisper_cli.serve.spool import Spool
from maxwhisper_cli.speech.network_loader import NetworkLoader
from maxwhisper_cli.transcription.stopwatch import STOPPED
from tests.fuzz import realtime_events
from tests.fuzz.guided import MAX_SECONDS, Campaign
from tests.fuzz.mutation import mutated
from tests.support import checkpoints
from tests.support.scripted import EOT
from tests.support.sound import tone

_LIMITS = Limits(
    upload_bytes=200_000, spool_bytes=400_000, audio_seconds=20, request_seconds=9, idle_seconds=4
)
_PATHS = (
    *("/v1/audio/transcriptions",) * 6,
    *("/v1/audio/translations", "/inference", "/v1/models", "/v1/models/x", "/metrics", "/docs"),
    *("/health", "/readyz", "/", "/page/x", "/page/../../etc/passwd", "/v1/%2e%2e", "/v2", ""),
)
_VALUES = (
    *("0", "1", "-1", "5", "0.5", "1e308", "nan", "inf", "None", "true", "false", "auto", ""),
    *("en", "es-MX", "klingon", "x" * 3000, "世界", "\x1b[31m", "a,b", "1,2", "3.1,4.2", "\0"),
    *("json", "text", "srt", "verbose_json", "vtt", "diarized_json", "word", "segment", "logprobs"),
    *(
        "left",
        "split",
        "2",
        "netflix",
        "whisper-1",
        "tiny.en",
        "9" * 5000,
        "1_0",
        "²",
        "\u0661",
        " 1 ",
    ),
    *('{"type": "server_vad"}', '{"type": "server_vad", "threshold": []}', "[" * 9000, "{}", "[1]"),
    *("http://127.0.0.1/", "file:///etc/passwd", "<|endoftext|>", "0,1", "1,0", "0,0.3", "\ud800"),
)
_HEADERS = (
    *((b"content-length", b"1"), (b"content-length", b"-1"), (b"content-length", b"9" * 40)),
    *((b"content-length", b"\xb2"), (b"expect", b"100-continue"), (b"host", b"evil.example")),
    *((b"host", b"["), (b"host", b"[::1"), (b"host", b""), (b"host", b"localhost:99999")),
    *((b"origin", b"null"), (b"origin", b"http://[::1"), (b"origin", b"http://testserver")),
    *((b"authorization", b"Bearer \xff"), (b"authorization", b"Basic eA=="), (b"cookie", b"a=b")),
    *((b"accept", b"text/html"), (b"transfer-encoding", b"chunked"), (b"range", b"bytes=5-")),
    *((b"access-control-request-headers", b"x\xff"), (b"content-encoding", b"gzip")),
)
_TYPES = (
    *(b"multipart/form-data; boundary=b",) * 8,
    *(b"multipart/form-data", b'multipart/form-data; boundary="', b"application/json", b"\xff"),
    *(
        b"multipart/form-data; boundary=" + b"b" * 71,
        b"text/plain",
        b"multipart/form-data; b*=u''b",
    ),
)
_TOKENS = (
    *(b"--b", b"--b--", b"\r\n", b"\r\n\r\n", b"content-disposition: form-data", b'; name="file"'),
    *(
        b'; filename="../x"',
        b"; filename*=UTF-8''x",
        b"content-type: x",
        b"\0",
        b"\xff",
        b'"',
        b"=",
    ),
)


@dataclass
class _Kept(logging.Handler):
    """Keeps what the server's own log says of failures, which a client does not see."""

    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.ERROR)

    __hash__ = object.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        where = ""
        if record.exc_info and record.exc_info[1] is not None:
            frames = traceback.extract_tb(record.exc_info[1].__traceback__)
            own = [frame for frame in frames if "/maxwhisper_cli/" in frame.filename] or frames
            where = f" at {Path(own[-1].filename).name}:{own[-1].lineno}: {record.exc_info[1]!r}"
        self.texts.append(f"log: {record.getMessage()}{where}"[:300])


def run_http_bodies(
    folder: Path, *, seed: int, n_cases: int, max_seconds: float = float("inf")
) -> Campaign:
    """Runs so many requests, or as many as the time allows."""
    return asyncio.run(_run(folder, seed, n_cases, max_seconds))


async def _run(folder: Path, seed: int, n_cases: int, max_seconds: float) -> Campaign:
    campaign, sounds = Campaign(), _sounds()
    began = time.monotonic()
    with _log() as kept:
        async with application(folder) as (app, service):
            while campaign.n_cases < n_cases and time.monotonic() - began < max_seconds:
                generator = random.Random(f"http {seed} {campaign.n_cases}")
                is_socket = generator.random() < 0.3
                case: Request | list[dict[str, Any]]
                case = (
                    realtime_events.session(generator) if is_socket else _request(generator, sounds)
                )
                finding = await _tried(app, case)
                finding = finding or next(iter(kept.texts), None) or await _left(service)
                kept.texts.clear()
                campaign.n_cases += 1
                if finding is not None:
                    campaign.findings.setdefault(finding, repr(case).encode())
    campaign.seconds = time.monotonic() - began
    return campaign


@contextmanager
def _log() -> Iterator[_Kept]:
    kept, disabled = _Kept(), logging.root.manager.disable
    logging.disable(logging.NOTSET)
    loggers = [logging.getLogger(name) for name in ("maxwhisper_cli", "asyncio")]
    for logger in loggers:
        logger.addHandler(kept)
        logger.propagate, logger.level = False, logging.ERROR
    try:
        yield kept
    finally:
        for logger in loggers:
            logger.removeHandler(kept)
            logger.propagate, logger.level = True, logging.NOTSET
        logging.disable(disabled)


@asynccontextmanager
async def application(folder: Path) -> AsyncIterator[tuple[Any, Service]]:
    """The application with its first model loaded."""
    tensors = checkpoints.random_tensors(checkpoints.SMALL_DIMS)
    tensors["decoder.ln.weight"] *= 0  # texts end at once: garbage would be decoded to its limit
    tensors["decoder.ln.bias"] = np.ones_like(tensors["decoder.ln.bias"])
    tensors["decoder.token_embedding.weight"][EOT] = 5
    path = checkpoints.write_openai(folder / "small", checkpoints.SMALL_DIMS, tensors)
    model = maxwhisper_cli.load(str(path), impl="cpu", dtype="float32", offline=True)
    voices = NetworkLoader(is_offline=True)

    def start(model: maxwhisper_cli.Model) -> Engine:
        reader = RecordingReader(model.implementation, voices, STOPPED)
        return Engine(model.implementation, reader, 2, 2, 2**28)

    async def nothing() -> AsyncIterator[None]:
        yield

    models = ModelRegistry([str(path)], lambda _: model, start, -1)
    service = Service(models, _LIMITS, Spool(folder, _LIMITS.spool_bytes))
    app = make_app(service, Access(hosts=("testserver",)), voices, nothing)
    async with models.lease(models.first):
        pass
    try:
        yield app, service
    finally:
        await models.close()


def _sounds() -> list[bytes]:
    found = []
    for kind, settings in (("WAV", {}), ("FLAC", {}), ("OGG", {"subtype": "OPUS"})):
        file = io.BytesIO()
        stereo = np.stack([tone(440, 0.5, 16000), tone(880, 0.5, 16000)], axis=1)
        soundfile.write(file, stereo, 16000, format=kind, **settings)
        found.append(file.getvalue())
    return [*found, b"", b"noise" * 50]


@dataclass(frozen=True)
class Request:
    """A request, and when its client leaves."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    blocks: list[bytes]
    is_left: bool
    """True if the client leaves before the body has ended."""

    @property
    def scope(self) -> dict[str, Any]:
        return _scope("http", self.path, self.query, self.headers) | {"method": self.method}


def _scope(
    kind: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]]
) -> dict[str, Any]:
    scheme = "ws" if kind == "websocket" else "http"
    addresses = {"server": ("testserver", 80), "client": ("127.0.0.1", 9), "root_path": ""}
    target = {"path": path, "raw_path": path.encode(), "query_string": query, "headers": headers}
    version = {"asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1"}
    return {"type": kind, "scheme": scheme, "state": {}} | addresses | target | version


def _request(generator: random.Random, sounds: list[bytes]) -> Request:
    body = _body(generator, sounds)
    if generator.random() < 0.4:
        body = mutated(body, sounds, _TOKENS, generator)
    headers = [(b"host", b"testserver"), (b"content-type", generator.choice(_TYPES))]
    while generator.random() < 0.3:
        headers.append(generator.choice(_HEADERS))
    cuts = sorted(generator.randrange(len(body) + 1) for _ in range(generator.choice((0, 0, 1, 5))))
    edges = [0, *cuts, len(body)]
    blocks = [body[a:b] for a, b in pairwise(edges)]
    method = generator.choice(("POST",) * 8 + ("GET", "OPTIONS", "PUT", "HEAD"))
    path = generator.choice(_PATHS)
    query = generator.choice((b"",) * 6 + (b"model=x", b"%ff=%00", b"a" * 5000))
    return Request(method, path, query, headers, blocks, generator.random() < 0.05)


def _body(generator: random.Random, sounds: list[bytes]) -> bytes:
    names = list(SPECS)
    parts = []
    for _ in range(generator.choice((0, 1, 1, 2, 3, 6, 70))):
        name = generator.choice([*names, "url", "modle", "", "file", "x" * 300])
        name += generator.choice(("", "", "", "[]", "[0]"))
        label = f'content-disposition: form-data; name="{name}"'
        value = generator.choice(_VALUES).encode("utf-8", "surrogatepass")
        parts.append((label.encode(), value))
    if generator.random() < 0.8:
        sound = generator.choice(sounds)
        if generator.random() < 0.3:
            sound = mutated(sound, sounds, (), generator)
        head = b'content-disposition: form-data; name="file"; filename="../a.wav"'
        parts.insert(generator.randrange(len(parts) + 1), (head, sound))
    body = b"".join(b"--b\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return body + b"--b--\r\n"


async def _tried(app: Any, case: "Request | list[dict[str, Any]]") -> str | None:
    """Returns what was wrong, if something was."""
    try:
        async with asyncio.timeout(MAX_SECONDS):
            if isinstance(case, Request):
                return await _answered(app, case)
            await held(app, case)
            return None
    except TimeoutError:
        return f"more than {MAX_SECONDS} s"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/maxwhisper_cli/" in frame.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return f"{type(error).__name__} at {place}: {error}"[:300]


async def _answered(app: Any, case: Request) -> str | None:
    waiting, sent = list(case.blocks), []
    is_answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if case.is_left and len(waiting) == 1:
            return {"type": "http.disconnect"}
        if not waiting:
            await is_answered.wait()
            return {"type": "http.disconnect"}
        block = waiting.pop(0)
        return {"type": "http.request", "body": block, "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            is_answered.set()

    await app(case.scope, receive, send)
    starts = [each for each in sent if each["type"] == "http.response.start"]
    if case.is_left and not starts:
        return None
    if len(starts) != 1 or not is_answered.is_set():
        return f"{len(starts)} answers, {'ended' if is_answered.is_set() else 'not ended'}"
    body = b"".join(each.get("body", b"") for each in sent[1:])
    return _wrong(starts[0], body, has_body=case.method != "HEAD")


def _wrong(start: dict[str, Any], body: bytes, *, has_body: bool) -> str | None:
    status, kind = start["status"], dict(start["headers"]).get(b"content-type", b"")
    if status >= 500 and not (status == 503 and b"no place" in body):
        return f"status {status}: {body[:200]!r}"
    if status >= 400 and status != 499 and has_body:
        assert kind.startswith(b"application/json"), (status, kind)
        error = json.loads(body)["error"]
        assert {"message", "type", "param", "code"} <= error.keys(), error
    return None


async def held(app: Any, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Holds a session; returns what the server sent.

    Args:
        app: The application.
        events: The query, and then the client's messages; after them it leaves.
    """
    waiting, sent = [{"type": "websocket.connect"}, *events[1:]], []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return waiting.pop(0) if waiting else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = _scope("websocket", "/v1/realtime", events[0]["query"], [(b"host", b"testserver")])
    await app(scope | {"subprotocols": ["realtime"]}, receive, send)
    for message in sent:
        if message["type"] == "websocket.send":
            assert isinstance(json.loads(message["text"].encode())["type"], str)  # whole characters
        elif message["type"] == "websocket.close":
            assert len((message.get("reason") or "").encode()) < 124  # RFC 6455, 5.5
    assert sent, "not answered"
    return sent


async def _left(service: Service) -> str | None:
    for _ in range(200):
        if service.n_in_flight == 0 and service.spool.n_bytes == 0:
            return None
        await asyncio.sleep(0.01)
    return f"left: {service.n_in_flight} in flight, {service.spool.n_bytes} bytes of uploads"
