"""Part of the Python API: a transcript as text of any output format, as dict and as rows."""

import dataclasses
from typing import Any

from maxwhisper_cli.captions.captions import CaptionOptions, make_captions
from maxwhisper_cli.transcription.option_types import OptionsError
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.writers.base import Document
from maxwhisper_cli.writers.json import json_content
from maxwhisper_cli.writers.registry import WRITERS

_DEFAULTS = CaptionOptions()


def render(
    transcript: Transcript,
    output_format: str,
    captions: CaptionOptions = _DEFAULTS,
    *,
    task: str = "transcribe",
    recording: str = "",
) -> str:
    """Returns a transcript in an output format, as the command line would write it.

    Args:
        transcript: A transcript, with word times if the captions need them.
        output_format: `txt`, `srt`, `vtt`, `tsv`, `json`, `lrc`, `ass`, `ttml`, `csv`, `md`
            or `rttm`.
        captions: Options of the cues of srt, vtt, lrc, ass and ttml.
        task: `translate` if the text is a translation into English.
        recording: Name of the recording, for `rttm`.

    Raises:
        OptionsError: There is no such format, or it needs speakers or the captions word times,
            which the transcript does not have.
    """
    if output_format not in WRITERS:
        known = ", ".join(WRITERS)
        raise OptionsError(f"there is no output format {output_format!r}; choose from {known}")
    writer = WRITERS[output_format]
    if writer.needs_speakers and any(each.speaker is None for each in transcript.segments):
        raise OptionsError(f"{writer.name} needs speakers: transcribe with channel='split'")
    laid_out = make_captions(transcript, captions, task=task)
    return writer.render(Document(transcript, task, captions=laid_out, recording=recording))


def to_dict(transcript: Transcript, *, task: str = "transcribe") -> dict[str, Any]:
    """Returns a transcript as the dict that openai-whisper returns, with more keys.

    Args:
        transcript: A transcript.
        task: `translate` if the text is a translation into English.
    """
    return json_content(Document(transcript, task))


def to_rows(transcript: Transcript, *, by_word: bool = False) -> list[dict[str, Any]]:
    """Returns a dict of plain values for each segment, as `pandas.DataFrame` takes them.

    Args:
        transcript: A transcript.
        by_word: True gives a row for each word instead, with the id of its segment.
    """
    if by_word:
        return [
            {"segment": segment.id, **dataclasses.asdict(word)}
            for segment in transcript.segments
            for word in segment.words or ()
        ]
    columns = ("id", "start", "end", "text", "speaker", "language")
    more = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
    return [
        {name: getattr(segment, name) for name in (*columns, *more)}
        for segment in transcript.segments
    ]
