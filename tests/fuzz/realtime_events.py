"""Random sessions of realtime transcription: events as a client sends them, and damaged ones."""

import base64
import json
import random
from typing import Any

from tests.fuzz.mutation import mutated

_TYPES = (
    *("session.update", "session.update", "transcription_session.update"),
    *("input_audio_buffer.append", "input_audio_buffer.append", "input_audio_buffer.commit"),
    *("input_audio_buffer.clear", "conversation.item.create", "", "x" * 500),
)
_QUERIES = (
    *(b"intent=transcription",) * 6,
    *(b"", b"intent=conversation", b"model=unknown", b"model=%ff", b"model=whisper-1&model=x"),
    b"model=" + b"%E4%B8%96" * 60,
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, 1e308, 10**30, "", "en", "klingon", "es", "世界", "\ud800"),
    *([], {}, [1], ["en"], [[]], {"type": None}, {"type": []}, "x" * 2000, "audio/pcm", "low"),
    *("server_vad", "semantic_vad", "audio/pcmu", 24000, 8000, "tiny.en", "\0", "<|endoftext|>"),
)
_TOKENS = (b"{", b"}", b"[", b'"', b":", b",", b"null", b"1e999", b"NaN", b"\\ud800", b"[" * 3000)
_INPUT_FIELDS = ("format", "transcription", "turn_detection", "noise_reduction")
_FIELDS = {
    "format": ("type", "rate"),
    "transcription": ("model", "language", "languages", "prompt", "keywords", "delay"),
    "turn_detection": ("type", "threshold", "silence_duration_ms", "prefix_padding_ms"),
    "noise_reduction": ("type",),
}
_GOOD: dict[str, dict[str, Any]] = {
    "format": {"type": "audio/pcm", "rate": 24000},
    "transcription": {"language": "en", "prompt": "a", "keywords": ["b"], "delay": "low"},
    "turn_detection": {"type": "server_vad", "threshold": 0.5},
}


def session(generator: random.Random) -> list[dict[str, Any]]:
    """Returns a session: its query, then the messages of the client."""
    messages = [_message(generator) for _ in range(generator.choice((1, 1, 2, 3, 6)))]
    return [{"query": generator.choice(_QUERIES)}, *messages]


def _message(generator: random.Random) -> dict[str, Any]:
    text = json.dumps(_event(generator))
    if generator.random() < 0.3:
        text = mutated(text.encode(), [b"{}"], _TOKENS, generator).decode("utf-8", "replace")
    if generator.random() < 0.03:
        return {"type": "websocket.receive", "bytes": text.encode()}
    return {"type": "websocket.receive", "text": text}


def _event(generator: random.Random) -> Any:
    kind = generator.choice(_TYPES)
    event: dict[str, Any] = {"type": kind}
    if generator.random() < 0.3:
        event["event_id"] = generator.choice(_VALUES)
    if kind.endswith("session.update"):
        event["session"] = _session(generator)
    if kind.endswith("append"):
        sound = generator.randbytes(generator.choice((0, 1, 2, 4800, 9600, 48000)))
        event["audio"] = base64.b64encode(sound).decode()
        if generator.random() < 0.1:
            event["audio"] = generator.choice(_VALUES)
    if generator.random() < 0.05:
        return generator.choice(_VALUES)
    return event


def _session(generator: random.Random) -> Any:
    found: dict[str, Any] = {"type": "transcription"}
    inputs = {name: dict(fields) for name, fields in _GOOD.items() if generator.random() < 0.5}
    if generator.random() < 0.7:
        name = generator.choice(_INPUT_FIELDS)
        fields = inputs.setdefault(name, {})
        fields[generator.choice(_FIELDS[name])] = generator.choice(_VALUES)
    if generator.random() < 0.2:
        inputs[generator.choice(_INPUT_FIELDS)] = generator.choice(_VALUES)
    found["audio"] = {"input": inputs}
    if generator.random() < 0.1:
        found[generator.choice(("audio", "type", "include"))] = generator.choice(_VALUES)
    return found if generator.random() < 0.97 else generator.choice(_VALUES)
