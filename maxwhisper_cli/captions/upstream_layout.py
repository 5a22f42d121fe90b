"""openai-whisper's layout: a cue for each segment, or lines of so many characters or words.

It knows no grammar and no reading speed; the cues equal those of `SubtitlesWriter.iterate_result`
in whisper/utils.py for every combination of its options.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from maxwhisper_cli.captions.cues import Cue, cue_of_words
from maxwhisper_cli.transcription.segments import Segment, Word

_UNLIMITED = 1000
"""Characters or words in a line where no option limits them."""
_LONG_PAUSE_SECONDS = 3.0
"""Time between the starts of two words that ends a cue, where cues are made of whole lines."""


@dataclass(frozen=True, slots=True)
class LineLimits:
    """Limits of openai-whisper's options; None where there is none."""

    max_line_width: int | None = None
    """Characters in a line."""
    max_line_count: int | None = None
    """Lines in a cue; without a width it has no effect."""
    max_words_per_line: int | None = None
    """Words in a line; with a width it has little effect."""

    @property
    def keeps_segments(self) -> bool:
        """True if each segment begins a cue."""
        return self.max_line_count is None or self.max_line_width is None


def lay_out(segments: Sequence[Segment], limits: LineLimits) -> Iterator[Cue]:
    """Yields cues by words if the first segment has word times, and else one for each segment."""
    if segments and segments[0].words is not None:
        yield from _cues_of_words(segments, limits)
        return
    for segment in segments:
        text = segment.text.strip().replace("-->", "->")
        yield Cue(segment.start, segment.end, text, speaker=segment.speaker)


@dataclass(frozen=True, slots=True)
class _PlacedWord:
    word: Word
    begins_chunk: bool
    """True at the beginning of a segment, and after as many words as a line may have."""
    speaker: str | None


def _placed_words(segments: Sequence[Segment], limits: LineLimits) -> Iterator[_PlacedWord]:
    n_words = limits.max_words_per_line or _UNLIMITED
    for segment in segments:
        for index, word in enumerate(segment.words or ()):
            yield _PlacedWord(word, index % n_words == 0, segment.speaker)


def _cues_of_words(segments: Sequence[Segment], limits: LineLimits) -> Iterator[Cue]:
    width = limits.max_line_width or _UNLIMITED
    cue: list[Word] = []
    speaker: str | None = None
    line_length, n_lines, last_start = 0, 1, 0.0
    for placed in _placed_words(segments, limits):
        word = placed.word
        pauses = (
            not limits.keeps_segments
            and bool(cue)
            and word.start - last_start > _LONG_PAUSE_SECONDS
        )
        ends_cue = bool(cue) and (
            (limits.keeps_segments and placed.begins_chunk) or placed.speaker != speaker
        )
        fits = line_length + len(word.word) <= width
        if line_length > 0 and fits and not pauses and not ends_cue:
            line_length += len(word.word)
        else:
            text = word.word.strip()
            is_full = limits.max_line_count is not None and (
                pauses or n_lines >= limits.max_line_count
            )
            if cue and (ends_cue or is_full):
                yield cue_of_words(cue, speaker)
                cue, n_lines = [], 1
            elif line_length > 0:
                n_lines += 1
                text = f"\n{text}"
            line_length = len(text.strip())
            word = replace(word, word=text)
        cue.append(word)
        speaker, last_start = placed.speaker, word.start
    if cue:
        yield cue_of_words(cue, speaker)
