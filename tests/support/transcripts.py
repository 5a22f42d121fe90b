"""Transcripts made by hand, and openai-whisper's form of them."""

import dataclasses
from typing import Any

from maxwhisper_cli.transcription.segments import Segment, Transcript, Word


def segment(start: float, end: float, text: str, **changes: Any) -> Segment:
    made = Segment(
        id=0,
        seek=0,
        start=start,
        end=end,
        text=text,
        tokens=(50364, 440, 50414),
        temperature=0.2,
        avg_logprob=-0.25,
        compression_ratio=1.5,
        no_speech_prob=0.01,
    )
    return dataclasses.replace(made, **changes)


def transcript(*segments: Segment, language: str = "de") -> Transcript:
    return Transcript("".join(s.text for s in segments), segments, language, 0.75, 4000.5)


def segment_of(*words: tuple[str, float, float], speaker: str | None = None) -> Segment:
    """Returns a segment of words, each with its start and end."""
    made = tuple(Word(text, start, end, 0.9) for text, start, end in words)
    text = "".join(word.word for word in made)
    return segment(made[0].start, made[-1].end, text, words=made, speaker=speaker)


def spoken(
    text: str, seconds_per_word: float = 0.4, start: float = 0.0, *, separator: str = " "
) -> Segment:
    """Returns a segment whose words follow each other without a pause."""
    texts = [f"{separator}{word}" for word in text.split(" ")]
    at = [start + seconds_per_word * index for index in range(len(texts) + 1)]
    return segment_of(*zip(texts, at, at[1:], strict=False))


def as_whisper_result(of: Transcript) -> dict[str, Any]:
    """Returns openai-whisper's result; without `words` where there are none."""
    segments = [{**dataclasses.asdict(s), "tokens": list(s.tokens)} for s in of.segments]
    for each in segments:
        del each["language"], each["speaker"], each["token_logprobs"]  # ours alone
        if each["words"] is None:
            del each["words"]
        else:
            each["words"] = list(each["words"])
    return {"text": of.text, "segments": segments, "language": of.language}
