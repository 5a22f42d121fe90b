"""OpenAI's realtime transcription over a WebSocket: audio comes in, text goes out meanwhile.

A delta is text that will not change; joined, the deltas of an item are its transcript. Streams of
all clients of a model are decoded side by side.
"""

import asyncio
import base64
import binascii
import json
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import uuid4

import numpy as np
import soxr
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from maxwhisper_cli.listen.events import Event, FinalWords, SpeechStarted, UtteranceEnded
from maxwhisper_cli.listen.pipe import raw_samples
from maxwhisper_cli.listen.streams import LiveStream, LiveStreams
from maxwhisper_cli.listen.transcriber import LiveTranscriber
from maxwhisper_cli.serve.errors import ApiError, invalid
from maxwhisper_cli.serve.realtime_session import SessionSettings, read_event
from maxwhisper_cli.serve.registry import Loaded
from maxwhisper_cli.serve.service import Service, api_error
from maxwhisper_cli.speech.network_loader import NetworkLoader
from maxwhisper_cli.transcription.mel import SAMPLE_RATE
from weights.errors import MaxWhisperError

_log = logging.getLogger(__name__)
_BUFFER = "input_audio_buffer"
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_MAX_AUDIO_BYTES: Final = 15 * 2**20
_MAX_WAITING: Final = 60 * SAMPLE_RATE
"""Samples that wait for the model, from which on a client has to wait."""
_LOOK_SECONDS: Final = 0.05
_PROTOCOL: Final = "realtime"


def realtime_routes(service: Service, voices: NetworkLoader) -> APIRouter:
    """Returns the route of realtime transcription."""
    router = APIRouter()
    models = SharedModels()

    @router.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(_PROTOCOL if _PROTOCOL in offered else None)
        connection = _Connection(socket, service, models, voices)
        with suppress(WebSocketDisconnect):
            await connection.run()

    return router


class SharedModels:
    """Streams of each model, as long as some are open."""

    def __init__(self) -> None:
        self._streams: dict[str, tuple[LiveStreams, int]] = {}

    def take(self, loaded: Loaded) -> LiveStreams:
        """Returns the streams of a model; `give_back` is due for each call."""
        streams, n_users = self._streams.get(loaded.id) or (
            LiveStreams(loaded.model.implementation),
            0,
        )
        self._streams[loaded.id] = streams, n_users + 1
        return streams

    async def give_back(self, loaded: Loaded) -> None:
        """Ends the thread of a model that nobody uses any more."""
        streams, n_users = self._streams.pop(loaded.id)
        if n_users > 1:
            self._streams[loaded.id] = streams, n_users - 1
        else:
            await asyncio.to_thread(streams.close)


@dataclass(eq=False)
class _Connection:
    """One client."""

    socket: WebSocket
    service: Service
    models: SharedModels
    voices: NetworkLoader
    settings: SessionSettings = field(default_factory=SessionSettings)
    _stream: LiveStream | None = None
    _resources: AsyncExitStack = field(default_factory=AsyncExitStack)
    _resampler: Any = None
    _item: str = ""
    _previous_item: str | None = None
    _n_samples: int = 0
    """Samples since the last commit."""

    async def run(self) -> None:
        """Answers events until the client leaves."""
        try:
            async with self.service.place():
                await self._start()
                while True:
                    await self._answer(await self._receive())
        except WebSocketDisconnect:
            raise
        except ApiError as error:
            await self._send_error(error, None)
            await self.socket.close(1011, error.message.encode()[:123].decode(errors="ignore"))
        finally:
            await self._close_stream()

    async def _start(self) -> None:
        query = self.socket.query_params
        if query.get("intent", "transcription") != "transcription":
            raise invalid("this server transcribes: intent=transcription", "intent")
        if name := query.get("model"):
            self.settings.transcription = {"model": name}
        self.service.models.find(self.settings.model)
        await self._send("session.created", session=self._session())

    async def _receive(self) -> str | None:
        """Returns the next message; None if it is not text."""
        message = await self.socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        return cast("str | None", message.get("text"))

    async def _answer(self, text: str | None) -> None:
        event_id = None
        try:
            event = read_event(text)
            event_id = event.get("event_id")
            await self._handle(event["type"], event)
        except (ApiError, MaxWhisperError) as error:
            await self._send_error(api_error(error), event_id)

    async def _handle(self, kind: str, event: dict[str, Any]) -> None:
        if kind in {"session.update", "transcription_session.update"}:
            await self._update(event.get("session"))
        elif kind == f"{_BUFFER}.append":
            await self._append(event.get("audio"))
        elif kind == f"{_BUFFER}.commit":
            self._commit()
        elif kind == f"{_BUFFER}.clear":
            if self._stream is not None:
                self._stream.drop_utterance()
            self._n_samples = 0
            await self._send(f"{_BUFFER}.cleared")
        else:
            raise invalid(f"this server knows no event {kind!r:.60}", "type", "unknown_event")

    async def _update(self, session: object) -> None:
        if not isinstance(session, dict):
            raise invalid("session is an object", "session")
        changed = SessionSettings(
            self.settings.format, self.settings.transcription, self.settings.turn_detection
        )
        changed.update(session)
        self.service.models.find(changed.model)
        self.settings = changed
        await self._close_stream()
        await self._send("session.updated", session=self._session())

    async def _append(self, audio: object) -> None:
        if not isinstance(audio, str):
            raise invalid("audio is text in base64", "audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid(f"audio is no base64: {error}", "audio") from error
        if len(data) > _MAX_AUDIO_BYTES:
            raise invalid("audio is longer than 15 MiB", "audio")
        raw = self.settings.raw
        n_bytes = 2 if raw.encoding == "s16le" else 1
        if len(data) % n_bytes:
            raise invalid("audio ends within a sample", "audio")
        stream = await self._open_stream()
        block = self._resampler.resample_chunk(raw_samples(data, raw)[:, 0])
        self._n_samples += len(data)
        while stream.n_waiting > _MAX_WAITING and not stream.is_closed:
            await asyncio.sleep(_LOOK_SECONDS)
        stream.put(block)

    def _commit(self) -> None:
        if self._stream is None or self._n_samples == 0:
            raise invalid(
                "there is no audio to commit", f"{_BUFFER}.commit", f"{_BUFFER}_commit_empty"
            )
        tail = self._resampler.resample_chunk(np.empty(0, np.float32), last=True)
        self._resampler = self._new_resampler()
        self._stream.put(tail)
        self._stream.end_utterance()
        self._n_samples = 0

    async def _open_stream(self) -> LiveStream:
        if self._stream is None:
            options = self.settings.options()
            served = self.service.models.find(self.settings.model)
            loaded = await self._resources.enter_async_context(self.service.models.lease(served))
            network = await asyncio.to_thread(self.voices.network) if options.vad else None
            live = LiveTranscriber(loaded.model.implementation, options, network)
            streams = self.models.take(loaded)
            self._resources.push_async_callback(self.models.give_back, loaded)
            loop = asyncio.get_running_loop()
            queue: asyncio.Queue[list[Event] | Exception] = asyncio.Queue()
            self._stream = streams.open(live, lambda events: _put_from_thread(loop, queue, events))
            self._resources.callback(self._stream.close)
            sender = asyncio.create_task(self._send_events(queue))
            self._resources.callback(sender.cancel)
            self._resampler = self._new_resampler()
        return self._stream

    async def _close_stream(self) -> None:
        self._stream = None
        self._item, self._n_samples = "", 0
        await self._resources.aclose()

    def _new_resampler(self) -> Any:  # noqa: ANN401  (soxr has no types)
        return soxr.ResampleStream(self.settings.raw.sample_rate, SAMPLE_RATE, 1, quality="HQ")

    async def _send_events(self, queue: "asyncio.Queue[list[Event] | Exception]") -> None:
        while True:
            events = await queue.get()
            with suppress(WebSocketDisconnect, RuntimeError):  # the client has left
                if isinstance(events, Exception):
                    await self._fail(events)
                    continue
                for event in events:
                    await self._send_event(event)

    async def _send_event(self, event: Event) -> None:
        has_vad = self.settings.turn_detection is not None
        if isinstance(event, SpeechStarted):
            self._item = f"item_{uuid4().hex[:20]}"
            if has_vad:
                start = round(event.start * 1000)
                await self._send(
                    f"{_BUFFER}.speech_started", item_id=self._item, audio_start_ms=start
                )
        elif isinstance(event, FinalWords):
            await self._send(
                f"{_TRANSCRIPTION}.delta",
                item_id=self._item,
                content_index=0,
                delta=event.text,
            )
        elif isinstance(event, UtteranceEnded):
            await self._send_end(event, has_vad=has_vad)

    async def _send_end(self, event: UtteranceEnded, *, has_vad: bool) -> None:
        if has_vad:
            end = round(event.end * 1000)
            await self._send(f"{_BUFFER}.speech_stopped", item_id=self._item, audio_end_ms=end)
        await self._send(
            f"{_BUFFER}.committed", item_id=self._item, previous_item_id=self._previous_item
        )
        self._previous_item = self._item
        seconds = round(event.end - event.start, 3)
        await self._send(
            f"{_TRANSCRIPTION}.completed",
            item_id=self._item,
            content_index=0,
            transcript=event.text,
            usage={"type": "duration", "seconds": seconds},
        )

    async def _fail(self, error: Exception) -> None:
        _log.error("a realtime session failed", exc_info=error)
        body = api_error(error).body()["error"]
        await self._send(
            f"{_TRANSCRIPTION}.failed", item_id=self._item, content_index=0, error=body
        )

    async def _send_error(self, error: ApiError, event_id: object) -> None:
        shown = event_id if isinstance(event_id, str) else None
        body: dict[str, object] = {**error.body()["error"], "event_id": shown}
        await self._send("error", error=body)

    async def _send(self, kind: str, **fields: object) -> None:
        event = {"type": kind, "event_id": f"event_{uuid4().hex[:20]}", **fields}
        text = json.dumps(event, ensure_ascii=False)
        await self.socket.send_text(text.encode("utf-8", "replace").decode())

    def _session(self) -> dict[str, Any]:
        return {"id": f"sess_{id(self):x}", "object": "realtime.transcription_session"} | (
            self.settings.shown()
        )


def _put_from_thread(
    loop: asyncio.AbstractEventLoop,
    queue: "asyncio.Queue[list[Event] | Exception]",
    events: list[Event] | Exception,
) -> None:
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(queue.put_nowait, events)
