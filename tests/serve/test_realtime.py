"""Realtime transcription over a WebSocket, with OpenAI's own client and its types."""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
import soxr
import websockets
from openai.resources.realtime.realtime import RealtimeConnection
from websockets.sync.client import connect

from maxwhisper_cli.compare.accuracy import accuracy
from tests.serve.conftest import KEY, RunningServer
from tests.support import loaded

JFK = (
    "And so my fellow Americans ask not what your country can do for you ask what you can do for "
    "your country"
)
pytestmark = pytest.mark.filterwarnings(  # OpenAI's client calls websockets 17 as it was before
    "ignore:connect.. must be used as a context manager:DeprecationWarning"
)
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@pytest.fixture(scope="module")
def pcm(jfk: Path) -> bytes:
    """The recording as clients send it: 24 kHz, mono, 16 bits."""
    samples = soxr.resample(loaded.samples_of(jfk), 16000, 24000, quality="HQ")
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


@pytest.fixture
def realtime(client: openai.OpenAI) -> Iterator[RealtimeConnection]:
    query = {"intent": "transcription"}
    with client.realtime.connect(model="whisper-1", extra_query=query) as connection:
        created: Any = connection.recv()
        assert created.type == "session.created"
        assert created.session.type == "transcription"
        yield connection


def session(**fields: object) -> dict[str, Any]:
    """Settings as a client sends them."""
    return {"type": "transcription", "audio": {"input": fields}}


def append(connection: RealtimeConnection, data: bytes) -> None:
    for first in range(0, len(data), 48000):
        audio = base64.b64encode(data[first : first + 48000]).decode()
        connection.input_audio_buffer.append(audio=audio)


def receive(connection: RealtimeConnection, n_completed: int) -> list[Any]:
    """Events until so many items are complete."""
    events: list[Any] = []
    while n_completed:
        events.append(connection.recv())
        assert events[-1].type != "error", events[-1]
        n_completed -= events[-1].type == f"{TRANSCRIPTION}.completed"
    return events


def of(events: Iterable[Any], kind: str) -> list[Any]:
    return [event for event in events if event.type == kind]


def wrong_words(text: str) -> int:
    wer = accuracy(JFK, text, "en").wer
    assert wer is not None
    return wer.n_errors


def test_turns_end_by_voice_activity(realtime: RealtimeConnection, pcm: bytes) -> None:
    """Each turn is an item: it starts, has deltas, stops, is committed and completed."""
    vad = {"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 500}
    realtime.session.update(session=session(turn_detection=vad))  # type: ignore[arg-type]
    updated: Any = realtime.recv()
    assert updated.session.audio.input.turn_detection.silence_duration_ms == 500
    append(realtime, pcm + bytes(2 * 24000))
    events = receive(realtime, 3)
    completed = of(events, f"{TRANSCRIPTION}.completed")
    while wrong_words(" ".join(each.transcript for each in completed)) > 2:
        events += receive(realtime, 1)
        completed = of(events, f"{TRANSCRIPTION}.completed")
    started, stopped = (
        of(events, f"input_audio_buffer.speech_{x}") for x in ("started", "stopped")
    )
    committed = of(events, "input_audio_buffer.committed")
    items = [event.item_id for event in completed]
    assert len(set(items)) == len(items)
    assert [event.item_id for event in started][: len(items)] == items
    assert [event.item_id for event in stopped] == items
    assert [event.previous_item_id for event in committed] == [None, *items[:-1]]
    for first, last in zip(started, stopped, strict=False):
        assert 0 <= first.audio_start_ms < last.audio_end_ms <= 12000
    for each in completed:
        deltas = [
            e.delta for e in of(events, f"{TRANSCRIPTION}.delta") if e.item_id == each.item_id
        ]
        assert "".join(deltas).strip() == each.transcript
        assert each.usage.type == "duration"


def test_turns_end_by_a_commit(realtime: RealtimeConnection, pcm: bytes) -> None:
    realtime.session.update(session=session(turn_detection=None))  # type: ignore[arg-type]
    updated: Any = realtime.recv()
    assert updated.type == "session.updated"
    assert updated.session.audio.input.turn_detection is None
    append(realtime, pcm[: 24000 * 2 * 3])
    realtime.input_audio_buffer.clear()
    cleared: Any = realtime.recv()
    while cleared.type == f"{TRANSCRIPTION}.delta":
        cleared = realtime.recv()
    assert cleared.type == "input_audio_buffer.cleared"
    append(realtime, pcm)
    realtime.input_audio_buffer.commit()
    events = receive(realtime, 1)
    assert not of(events, "input_audio_buffer.speech_started")
    assert wrong_words(events[-1].transcript) <= 2
    assert events[-1].usage.seconds == pytest.approx(11, abs=0.2)


def test_telephone_audio(realtime: RealtimeConnection, jfk: Path, tmp_path: Path) -> None:
    samples = soxr.resample(loaded.samples_of(jfk)[: 3 * 16000], 16000, 8000)
    soundfile.write(tmp_path / "law.raw", samples, 8000, format="RAW", subtype="ULAW")
    settings = session(format={"type": "audio/pcmu"}, turn_detection=None)
    realtime.session.update(session=settings)  # type: ignore[arg-type]
    assert realtime.recv().type == "session.updated"
    append(realtime, (tmp_path / "law.raw").read_bytes())
    realtime.input_audio_buffer.commit()
    assert "fellow" in receive(realtime, 1)[-1].transcript


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"format": {"type": "audio/pcm", "rate": 16000}}, "session.audio.input.format.rate"),
        ({"format": {"type": "audio/mp3"}}, "session.audio.input.format.type"),
        ({"noise_reduction": {"type": "near_field"}}, "session.audio.input.noise_reduction"),
        ({"turn_detection": {"type": "semantic_vad"}}, "session.audio.input.turn_detection.type"),
        (
            {"turn_detection": {"type": "server_vad", "threshold": 7}},
            "session.audio.input.turn_detection",
        ),
        (
            {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 9000}},
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            {"turn_detection": {"type": "server_vad", "eagerness": "low"}},
            "session.audio.input.turn_detection.eagerness",
        ),
        ({"transcription": {"language": "klingon"}}, "session.audio.input.transcription"),
        (
            {"transcription": {"languages": ["en", "es"]}},
            "session.audio.input.transcription.languages",
        ),
        ({"transcription": {"voice": "alto"}}, "session.audio.input.transcription.voice"),
        ({"gain": 2}, "session.audio.input.gain"),
        ({"transcription": {"model": "unknown-model"}}, "model"),
        ({"transcription": {"delay": "none"}}, "session.audio.input.transcription.delay"),
    ],
)
def test_settings_that_cannot_be_honoured(
    realtime: RealtimeConnection, fields: dict[str, Any], param: str
) -> None:
    """The session goes on as it was."""
    realtime.session.update(session=session(**fields), event_id="mine")  # type: ignore[arg-type]
    refused: Any = realtime.recv()
    assert refused.type == "error"
    assert refused.error.param == param
    assert refused.error.event_id == "mine"
    realtime.input_audio_buffer.clear()
    assert realtime.recv().type == "input_audio_buffer.cleared"


def test_mistakes_are_error_events(realtime: RealtimeConnection) -> None:
    realtime.input_audio_buffer.commit()
    empty: Any = realtime.recv()
    assert empty.error.code == "input_audio_buffer_commit_empty"
    realtime.input_audio_buffer.append(audio="not base64!")
    broken: Any = realtime.recv()
    assert broken.error.param == "audio"
    realtime.send({"type": "conversation.item.create", "item": {}})  # type: ignore[arg-type]
    unknown: Any = realtime.recv()
    assert unknown.error.code == "unknown_event"
    realtime.send_raw("{")
    assert realtime.recv().type == "error"


NO_EVENTS: tuple[str | bytes, ...] = (
    "", "null", "[1]", "[" * 100_000, '{"type": 1}', '{"type": "' + "x" * 5000 + '"}', b"binary",
    '{"type": "\\ud800", "event_id": "\\ud800"}',
    '{"type": "session.update", "event_id": NaN, "session": ' + "9" * 5000 + "}",
)  # fmt: skip
OF_ANOTHER_KIND: tuple[dict[str, Any], ...] = (
    {"transcription": {"delay": []}},
    {"transcription": {"languages": {"a": 1}}},
    {"transcription": {"languages": 5}},
    {"transcription": {"language": ["es"]}},
    {"transcription": {"keywords": 5}},
    {"transcription": {"keywords": [1]}},
    {"transcription": {"prompt": 5}},
    {"transcription": {"prompt": "\ud800"}},
    {"format": {"type": []}},
    {"turn_detection": {"threshold": {}}},
    {"turn_detection": {"silence_duration_ms": 10**400}},
)


def test_no_message_ends_a_session(server: RunningServer) -> None:
    """Each mistake is an error event, and the next event is answered."""
    updates = [{"type": "session.update", "session": session(**each)} for each in OF_ANOTHER_KIND]
    address = server.address.replace("http", "ws") + "/v1/realtime?intent=transcription"
    headers = {"authorization": f"Bearer {KEY}"}
    with connect(address, additional_headers=headers) as raw:
        assert json.loads(raw.recv())["type"] == "session.created"
        for message in (*NO_EVENTS, *map(json.dumps, updates)):
            raw.send(message)
            answer = json.loads(raw.recv())
            assert answer["type"] == "error", message[:100]
            assert answer["error"]["type"] == "invalid_request_error", (message[:100], answer)
        raw.send(json.dumps({"type": "input_audio_buffer.clear"}))
        assert json.loads(raw.recv())["type"] == "input_audio_buffer.cleared"
    assert not any("Traceback" in line for line in server.lines)


def test_a_key_is_needed(server: RunningServer) -> None:
    address = server.address.replace("http", "ws") + "/v1/realtime?intent=transcription"
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        connect(address)
    assert caught.value.response.status_code == 403
    protocols = [websockets.Subprotocol(x) for x in ("realtime", f"openai-insecure-api-key.{KEY}")]
    with connect(
        address, subprotocols=protocols[:1], additional_headers={"Authorization": f"Bearer {KEY}"}
    ) as browser:
        assert browser.subprotocol == "realtime"
        assert "session.created" in str(browser.recv())
