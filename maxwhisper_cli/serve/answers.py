"""Answers: a transcript in each response format, with the fields that OpenAI's client parses."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from maxwhisper_cli.serve.audio_request import AudioRequest
from maxwhisper_cli.transcription.languages import language_names
from maxwhisper_cli.transcription.segments import Segment, Transcript
from maxwhisper_cli.transcription.tokenizer import Tokenizer
from maxwhisper_cli.writers.render import render

_SEGMENT_FIELDS = (
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob",
    "compression_ratio", "no_speech_prob",
)  # fmt: skip
_MEDIA = {"srt": "application/x-subrip; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}


def answer(
    request: AudioRequest, transcript: Transcript, tokenizer: Tokenizer | None = None
) -> Response:
    """Returns a transcript in the format of the request.

    Args:
        request: The request.
        transcript: Its transcript.
        tokenizer: Spells tokens, if their log-probabilities are wanted.

    Raises:
        OptionsError: Captions were asked for that it has no words for.
    """
    kind = request.response_format
    if kind == "text":
        return PlainTextResponse(f"{transcript.text.strip()}\n")
    if kind in _MEDIA:
        text = render(transcript, kind, request.captions, task=request.options.task)
        return Response(text.encode(), media_type=_MEDIA[kind])
    if kind == "verbose_json":
        return JSONResponse(verbose(request, transcript))
    if kind == "diarized_json":
        return JSONResponse(diarized(transcript))
    content: dict[str, Any] = {
        "text": transcript.text.strip(),
        "languages": languages_of(transcript),
        "usage": usage(transcript),
    }
    if tokenizer is not None:
        content["logprobs"] = logprobs_of(transcript.segments, tokenizer)
    return JSONResponse(content)


def languages_of(transcript: Transcript) -> list[dict[str, str]]:
    """Returns the languages of a transcript: none where there is no text."""
    found = [segment.language or transcript.language for segment in transcript.segments]
    return [{"code": code} for code in dict.fromkeys(found)]


def logprobs_of(segments: Iterable[Segment], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Returns text tokens with their bytes and log-probabilities."""
    return [
        {"token": tokenizer.decode([token]), "bytes": list(data), "logprob": logprob}
        for segment in segments
        for token, logprob in zip(segment.tokens, segment.token_logprobs or (), strict=True)
        if token < tokenizer.eot and (data := tokenizer.token_bytes(token))
    ]


def usage(transcript: Transcript) -> dict[str, Any]:
    """Returns the usage by length of the recording."""
    return {"type": "duration", "seconds": transcript.duration_seconds}


def verbose(request: AudioRequest, transcript: Transcript) -> dict[str, Any]:
    """Returns the fields of `verbose_json`."""
    is_translated = request.options.task == "translate"
    language = "en" if is_translated else transcript.language
    content: dict[str, Any] = {
        "task": request.options.task,
        "language": language_names().get(language, language),
        "duration": transcript.duration_seconds,
        "text": transcript.text.strip(),
    }
    if request.has_segments:
        content["segments"] = [segment_fields(segment) for segment in transcript.segments]
    if request.has_words:
        content["words"] = [
            {
                "word": word.word.strip(),
                "start": word.start,
                "end": word.end,
                "probability": word.probability,
            }
            for segment in transcript.segments
            for word in segment.words or ()
        ]
    content["usage"] = usage(transcript)
    if transcript.warnings:
        content["warnings"] = list(transcript.warnings)
    return content


def segment_fields(segment: Segment) -> dict[str, Any]:
    """Returns the fields of a segment; numbers that JSON cannot hold are 0."""
    fields = {name: getattr(segment, name) for name in _SEGMENT_FIELDS}
    for name, value in fields.items():
        if isinstance(value, float) and not math.isfinite(value):
            fields[name] = 0.0
    if segment.speaker is not None:
        fields["speaker"] = segment.speaker
    return fields


def diarized(transcript: Transcript) -> dict[str, Any]:
    """Returns the fields of `diarized_json`."""
    labels = SpeakerLabels()
    return {
        "task": "transcribe",
        "duration": transcript.duration_seconds,
        "text": transcript.text.strip(),
        "segments": [labels.segment(segment) for segment in transcript.segments],
        "usage": usage(transcript),
    }


@dataclasses.dataclass(slots=True)
class SpeakerLabels:
    """Labels of speakers: their given names, or A, B, ... in order of appearance."""

    by_speaker: dict[str, str] = dataclasses.field(default_factory=dict)

    def segment(self, segment: Segment) -> dict[str, Any]:
        """Returns the fields of a diarized segment."""
        return {
            "type": "transcript.text.segment",
            "id": f"seg_{segment.id}",
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
            "speaker": self._label(segment.speaker or ""),
        }

    def _label(self, speaker: str) -> str:
        if speaker not in self.by_speaker:
            letter = _letters(len(self.by_speaker))
            is_named = speaker and not speaker.startswith("channel ")
            self.by_speaker[speaker] = speaker if is_named else letter
        return self.by_speaker[speaker]


def _letters(index: int) -> str:
    """Returns A, B, ..., Z, AA, AB, ..."""
    first, last = divmod(index, 26)
    return (_letters(first - 1) if first else "") + chr(ord("A") + last)
