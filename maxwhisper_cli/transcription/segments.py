"""What transcription produces: segments, the transcript they make up, and progress on the way."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech with its text; fields as in openai-whisper's result."""

    id: int
    seek: int
    """First mel frame (10 ms each) of the window it was decoded in."""
    start: float
    """Seconds from the beginning of the audio."""
    end: float
    text: str
    """Begins with a space where the language writes one."""
    tokens: tuple[int, ...]
    """Tokens, timestamps included; empty where the text is."""
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole file's text."""

    text: str
    segments: tuple[Segment, ...]
    language: str
    """Code of the language spoken, given or detected."""
    language_probability: float | None
    """How sure detection was; None where the language was given."""
    duration_seconds: float
    warnings: tuple[str, ...] = ()
    """What was odd about the audio or options, in words for the user."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transcription has come."""

    done_seconds: float
    total_seconds: float
    language: str


OnProgress = Callable[[Progress], None]
"""Called before the first window and after each; raise from it to stop."""
OnSegment = Callable[[Segment], None]
"""Called for each segment as it is decoded."""
