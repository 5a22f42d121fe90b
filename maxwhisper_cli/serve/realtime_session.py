"""Settings of a realtime session: OpenAI's `session` objects, checked and answered."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeGuard

from maxwhisper_cli.audio.raw import RawFormat
from maxwhisper_cli.listen.options import LIVE_VAD, ListenOptions
from maxwhisper_cli.serve.errors import ApiError, invalid
from maxwhisper_cli.transcription.options import OptionsError, VadOptions

_INPUT: Final = "session.audio.input"
_FORMATS: Final = {
    "audio/pcm": RawFormat("s16le", 24000, 1),
    "audio/pcmu": RawFormat("mulaw", 8000, 1),
    "audio/pcma": RawFormat("alaw", 8000, 1),
}
_SERVER_VAD: Final = {
    "type": "server_vad",
    "threshold": LIVE_VAD.threshold,
    "prefix_padding_ms": LIVE_VAD.speech_pad_ms,
    "silence_duration_ms": LIVE_VAD.min_silence_ms,
}
_TURN_FIELDS: Final = (*_SERVER_VAD, "create_response", "interrupt_response", "idle_timeout_ms")
"""Fields of server_vad; those on responses have no effect, since this server gives none."""
_TRANSCRIPTION_FIELDS: Final = ("model", "language", "languages", "prompt", "keywords", "delay")
_INPUT_FIELDS: Final = ("format", "noise_reduction", "transcription", "turn_detection")
_SESSION_FIELDS: Final = ("type", "audio", "include", "id", "object", "expires_at")
_DELAYS: Final = {"minimal": 0.3, "low": 0.6, "medium": 1.0, "high": 1.5, "xhigh": 2.5}
"""Seconds of audio behind a word before it is final."""


@dataclass(slots=True)
class SessionSettings:
    """Settings as the client has set them."""

    format: str = "audio/pcm"
    transcription: dict[str, Any] = field(default_factory=dict)
    turn_detection: dict[str, Any] | None = field(default_factory=lambda: dict(_SERVER_VAD))

    @property
    def raw(self) -> RawFormat:
        """Format of the audio that the client sends."""
        return _FORMATS[self.format]

    @property
    def model(self) -> str:
        """Name of the model; empty for the first one."""
        return str(self.transcription.get("model") or "")

    def update(self, session: Mapping[str, Any]) -> None:
        """Takes the fields of a `session.update`; those that are not there stay as they are.

        Raises:
            ApiError: A field is not understood, or cannot be honoured.
        """
        if session.get("type", "transcription") != "transcription":
            raise invalid("this server transcribes: the type is transcription", "session.type")
        if session.get("include"):
            raise invalid("log-probabilities are not computed live", "session.include")
        _check_known(session, _SESSION_FIELDS, "session")
        audio = _mapping(session.get("audio"), "session.audio")
        _check_known(audio, ("input",), "session.audio")
        given = _mapping(audio.get("input"), _INPUT)
        _check_known(given, _INPUT_FIELDS, _INPUT)
        if given.get("noise_reduction") is not None:
            raise invalid("noise is not reduced: leave it out", f"{_INPUT}.noise_reduction")
        changed = SessionSettings(self.format, self.transcription, self.turn_detection)
        if given.get("format") is not None:
            changed.format = _format(given["format"])
        if given.get("transcription") is not None:
            where = f"{_INPUT}.transcription"
            changed.transcription = _mapping(given["transcription"], where)
            _check_known(changed.transcription, _TRANSCRIPTION_FIELDS, where)
        if "turn_detection" in given:
            changed.turn_detection = _turn_detection(given["turn_detection"])
        changed.options()
        self.format, self.transcription = changed.format, changed.transcription
        self.turn_detection = changed.turn_detection

    def options(self) -> ListenOptions:
        """Returns the options of the transcription.

        Raises:
            ApiError: One is out of range.
        """
        where = f"{_INPUT}.transcription"
        languages = _texts(self.transcription, "languages")
        if len(languages) > 1:
            raise invalid("live text has one language: name one, or none", f"{where}.languages")
        language = _text(self.transcription, "language") or next(iter(languages), None)
        delay = _text(self.transcription, "delay")
        if delay is not None and delay not in _DELAYS:
            raise invalid(f"delay is one of {', '.join(_DELAYS)}", f"{where}.delay")
        words = [_text(self.transcription, "prompt"), ", ".join(self.keywords)]
        try:
            options = ListenOptions(
                language=language,
                initial_prompt=" ".join(filter(None, words)) or None,
                vad=self._vad(),
            )
            return options if delay is None else replace(options, guard_seconds=_DELAYS[delay])
        except OptionsError as error:
            raise invalid(str(error), where) from error

    @property
    def keywords(self) -> list[str]:
        """Words that are likely to be spoken."""
        return _texts(self.transcription, "keywords")

    def shown(self) -> dict[str, Any]:
        """Returns the session as an object of OpenAI's."""
        sound: dict[str, Any] = {"type": self.format}
        if self.format == "audio/pcm":
            sound["rate"] = self.raw.sample_rate
        return {
            "type": "transcription",
            "audio": {
                "input": {
                    "format": sound,
                    "noise_reduction": None,
                    "transcription": self.transcription or None,
                    "turn_detection": self.turn_detection,
                }
            },
        }

    def _vad(self) -> VadOptions | None:
        if self.turn_detection is None:
            return None
        given = {**_SERVER_VAD, **self.turn_detection}
        try:
            return VadOptions(
                threshold=given["threshold"],
                min_speech_ms=LIVE_VAD.min_speech_ms,
                min_silence_ms=given["silence_duration_ms"],
                speech_pad_ms=given["prefix_padding_ms"],
            )
        except OptionsError as error:
            raise invalid(str(error), f"{_INPUT}.turn_detection") from error


def read_event(text: str | None) -> dict[str, Any]:
    """Returns an event of the client.

    Raises:
        ApiError: It is none.
    """
    try:
        event = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        reason = "it is no text" if text is None else str(error)
        raise invalid(f"this is no JSON: {reason}") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise invalid("an event is an object with a type", "type")
    return event


def _format(given: object) -> str:
    fields = _mapping(given, f"{_INPUT}.format")
    kind = fields.get("type", "audio/pcm")
    if not isinstance(kind, str) or kind not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise invalid(f"the format is one of {known}, not {kind!r:.40}", f"{_INPUT}.format.type")
    rate = fields.get("rate")
    if rate is not None and rate != _FORMATS[kind].sample_rate:
        wanted = _FORMATS[kind].sample_rate
        raise invalid(f"the rate of {kind} is {wanted}", f"{_INPUT}.format.rate")
    return str(kind)


def _turn_detection(given: object) -> dict[str, Any] | None:
    if given is None:
        return None
    fields = _mapping(given, f"{_INPUT}.turn_detection")
    if fields.get("type", "server_vad") != "server_vad":
        message = "turns end by server_vad, or, with null, by input_audio_buffer.commit"
        raise invalid(message, f"{_INPUT}.turn_detection.type")
    where = f"{_INPUT}.turn_detection"
    _check_known(fields, _TURN_FIELDS, where)
    if fields.get("idle_timeout_ms") is not None:
        raise invalid("turns of silence are not made: leave it out", f"{where}.idle_timeout_ms")
    known = {name: fields[name] for name in _SERVER_VAD if fields.get(name) is not None}
    return {**_SERVER_VAD, **known}


def _check_known(fields: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuses fields that nothing would come of; empty ones pass."""
    for name, value in fields.items():
        if name not in known and value is not None:
            message = f"{where} has no field {name!r:.40} here"
            raise invalid(message, f"{where}.{name}"[:120], "unknown_parameter")


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    text = fields.get(name)
    if text is not None and not _is_text(text):
        raise invalid(f"{name} is text", f"{_INPUT}.transcription.{name}")
    return text


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    texts = fields.get(name) or []
    if not isinstance(texts, list) or not all(map(_is_text, texts)):
        raise invalid(f"{name} is a list of texts", f"{_INPUT}.transcription.{name}")
    return texts


def _is_text(value: object) -> TypeGuard[str]:
    """Returns True for text of whole characters, which JSON may lack."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff\0]", value)


def _mapping(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError(400, f"{name} is an object", name)
    return value
