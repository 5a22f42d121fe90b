"""JSON: the whole result, openai-whisper's keys first, then model and implementation.

Unlike openai-whisper's file, text is UTF-8 and not escaped, and a number that JSON cannot hold
(NaN, infinity) is null.
"""

import dataclasses
import json
import math
from typing import Any, ClassVar

from maxwhisper_cli.writers.base import Document, Writer


class JsonWriter(Writer):
    """One object on one line."""

    name: ClassVar[str] = "json"

    def render(self, document: Document) -> str:
        """`{"text": ..., "segments": [...], "language": ..., ...}`."""
        return json.dumps(json_content(document), ensure_ascii=False, allow_nan=False) + "\n"


def json_content(document: Document) -> dict[str, Any]:
    """Returns the fields of a document, openai-whisper's first."""
    transcript = document.transcript
    content = {
        "text": transcript.text,
        "segments": [
            {
                key: json_value(value)
                for key, value in dataclasses.asdict(segment).items()
                if value is not None
            }
            for segment in transcript.segments
        ],
        "language": transcript.language,
        "language_probability": json_value(transcript.language_probability),
        "duration": transcript.duration_seconds,
        "cuts": list(transcript.cut_seconds),
    }
    origin = {
        "duration_after_vad": transcript.speech_seconds,  # as in faster-whisper
        "task": document.task,
        "model": document.model,
        "implementation": document.implementation,
        "device": document.device,
        "dtype": document.dtype,
    }
    content |= {key: value for key, value in origin.items() if value is not None}
    content["warnings"] = [*document.notes, *transcript.warnings]
    return content


def json_value(value: Any) -> Any:  # noqa: ANN401  (whatever a field holds)
    """Returns a value with None for each number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: json_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    is_beyond_json = isinstance(value, float) and not math.isfinite(value)
    return None if is_beyond_json else value
