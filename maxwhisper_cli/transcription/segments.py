"""Results of transcription: segments, transcript, and progress meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its times; fields as in openai-whisper's result."""

    word: str
    """Text, with its punctuation, and a leading space if the language writes one."""
    start: float
    """Seconds from the beginning of the audio."""
    end: float
    probability: float
    """Mean probability of its tokens."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of speech with its text; fields as in openai-whisper's result."""

    id: int
    seek: int
    """First mel frame (10 ms each) of the window it was decoded in."""
    start: float
    """Seconds from the beginning of the audio."""
    end: float
    text: str
    """Text, with a leading space if the language writes one."""
    tokens: tuple[int, ...]
    """Tokens, timestamps included; empty if the text is."""
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    language: str | None = None
    """Code of the language detected in its window; None unless `multilingual` asks for it."""
    words: tuple[Word, ...] | None = None
    """Words with times; None unless `word_timestamps` asks for them."""
    speaker: str | None = None
    """Name of the speaker; None unless channels are split."""
    token_logprobs: tuple[float, ...] | None = None
    """Log-probability of each token; None unless `token_logprobs` asks for them."""

    def clamped(self, latest: float) -> "Segment":
        """Returns the segment with no time after `latest` seconds, those of its words included."""
        words = self.words and tuple(
            replace(word, start=min(word.start, latest), end=min(word.end, latest))
            for word in self.words
        )
        start, end = min(self.start, latest), min(self.end, latest)
        return replace(self, start=start, end=end, words=words)

    def shifted(self, seconds: float) -> "Segment":
        """Returns the segment with all times so many seconds later."""
        if seconds == 0:
            return self
        words = self.words and tuple(
            replace(word, start=word.start + seconds, end=word.end + seconds) for word in self.words
        )
        seek = self.seek + round(100 * seconds)
        start, end = self.start + seconds, self.end + seconds
        return replace(self, seek=seek, start=start, end=end, words=words)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Text of a whole recording."""

    text: str
    segments: tuple[Segment, ...]
    language: str
    """Code of the language spoken, given or detected."""
    language_probability: float | None
    """Probability of the detected language; None if the language was given."""
    duration_seconds: float
    speech_seconds: float | None = None
    """Seconds that were decoded since they count as speech; None unless `vad` asks for it."""
    cut_seconds: tuple[float, ...] = ()
    """Places where the recording was cut: the text before them prompts nothing. Empty where it is
    openai-whisper's sequence."""
    warnings: tuple[str, ...] = ()
    """Messages for the user about the audio or options."""

    def shifted(self, seconds: float) -> "Transcript":
        """Returns the transcript with all times so many seconds later."""
        if seconds == 0:
            return self
        segments = tuple(segment.shifted(seconds) for segment in self.segments)
        cuts = tuple(at + seconds for at in self.cut_seconds)
        return replace(self, segments=segments, cut_seconds=cuts)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a transcription, in seconds of audio."""

    done_seconds: float
    total_seconds: float
    language: str


OnProgress = Callable[[Progress], None]
"""Callback before the first window and after each; raise from it to stop."""
OnSegment = Callable[[Segment], None]
"""Callback for each segment as it is decoded."""
