"""Words of a window with their times: from aligned tokens, punctuation joined to its word.

Comes in: segments of one window, and where each of their tokens begins. Goes out: the segments with
words, and with their own times drawn to those of their words. Nothing is decoded or aligned here.

Source: the end of `find_alignment`, `merge_punctuations` and `add_word_timestamps` of
whisper/timing.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

from implementations.alignment import TokenAlignment
from maxwhisper_cli.transcription.mel import SAMPLE_RATE
from maxwhisper_cli.transcription.segments import Segment, Word
from maxwhisper_cli.transcription.tokenizer import Tokenizer
from weights.dims import HOP_LENGTH

_SENTENCE_ENDS = ".。!！?？"  # noqa: RUF001
_LONGEST_MEDIAN = 0.7
"""Largest median duration of a window's words, in seconds, that others are measured by."""
_MAX_DRIFT = 0.5
"""Seconds by which a word may lead or trail its segment's timestamps and still be believed."""


@dataclass(slots=True)
class TimedWord:
    """A word while its times and its punctuation are worked out; seconds within the window."""

    word: str
    tokens: list[int]
    start: float
    end: float
    probability: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Pace:
    """Durations of words in a window, in seconds."""

    median: float
    """Median of those that last at all, at most 0.7."""

    @property
    def longest(self) -> float:
        """Duration above which a word is cut short beside a pause."""
        return self.median * 2

    @classmethod
    def of(cls, words: Sequence[TimedWord]) -> "Pace | None":
        """Returns the pace of words; None if none of them lasts."""
        durations = [word.end - word.start for word in words if word.end != word.start]
        import statistics  # only words need it

        return cls(min(_LONGEST_MEDIAN, statistics.median(durations))) if durations else None


class SpelledText:
    """The words that tokens of a window's text make up, before and after their times are known."""

    def __init__(self, tokens: Sequence[int], tokenizer: Tokenizer) -> None:
        """Splits nothing yet.

        Args:
            tokens: Tokens of text, [n_text].
            tokenizer: Tokenizer, by whose language words are told apart.
        """
        self._tokens, self._tokenizer = tokens, tokenizer
        self._words: list[TimedWord] | None = None

    def split(self) -> None:
        """Splits the text, unless that is done; this needs no times."""
        if self._words is None:
            tokens = [*self._tokens, self._tokenizer.eot]
            words, word_tokens = self._tokenizer.split_to_word_tokens(tokens)
            self._words = [
                TimedWord(word, own, 0.0, 0.0, 0.0)
                for word, own in zip(words[:-1], word_tokens[:-1], strict=True)
            ]

    def timed(self, alignment: TokenAlignment, positions_per_second: float) -> list[TimedWord]:
        """Returns the words with times and mean probability, which may be changed.

        Args:
            alignment: Positions and probabilities of the tokens.
            positions_per_second: Audio positions in a second.
        """
        self.split()
        assert self._words is not None
        words, self._words = self._words, None
        seconds = (alignment.positions / positions_per_second).tolist()
        starts = [0, *accumulate(len(word.tokens) for word in words)]
        sums = np.add.reduceat(alignment.probabilities.astype(np.float64), starts[:-1]).tolist()
        for word, start, end, total in zip(words, starts, starts[1:], sums, strict=False):
            word.start, word.end = seconds[start], seconds[end]
            word.probability = total / (end - start)
        return words


def shorten_at_sentence_ends(words: Sequence[TimedWord], pace: Pace) -> None:
    """Cuts marks that end sentences, and words after them, to twice the median duration."""
    longest = pace.longest
    for previous, word in pairwise(words):
        if word.end - word.start <= longest:
            continue
        if word.word in _SENTENCE_ENDS:
            word.end = word.start + longest
        elif previous.word in _SENTENCE_ENDS:
            word.start = word.end - longest


def merge_punctuations(words: Sequence[TimedWord], prepended: str, appended: str) -> None:
    """Joins punctuation to the word after or before it, and leaves an empty word in its place."""
    following = words[-1] if words else None
    for word in reversed(words[:-1]):
        assert following is not None
        if word.word.startswith(" ") and word.word.strip() in prepended:
            following.word = word.word + following.word
            following.tokens = word.tokens + following.tokens
            word.word, word.tokens = "", []
        else:
            following = word
    previous = words[0] if words else None
    for word in words[1:]:
        assert previous is not None
        if not previous.word.endswith(" ") and word.word in appended:
            previous.word += word.word
            previous.tokens = previous.tokens + word.tokens
            word.word, word.tokens = "", []
        else:
            previous = word


def add_words(
    segments: Sequence[Segment],
    words: Sequence[TimedWord],
    punctuations: tuple[str, str],
    eot: int,
    last_speech: float,
) -> list[Segment]:
    """Returns the segments of a window with their words.

    Args:
        segments: Segments in order, without words; their window begins at their `seek`.
        words: All words of the window in order; they are changed.
        punctuations: Marks to join to the word after them, and to the word before them.
        eot: End of text; tokens from it on are no text.
        last_speech: End of the last word before the window, in seconds of the recording.
    """
    pace = Pace.of(words)
    if pace is not None:
        shorten_at_sentence_ends(words, pace)
    merge_punctuations(words, *punctuations)
    remaining = iter(words)
    timed = []
    for segment in segments:
        own = _take_words(remaining, segment, eot)
        start, end = segment.start, segment.end
        if own:
            start, end = _fit_to_words(segment, own, pace or Pace(0.0), last_speech)
            last_speech = end
        each = tuple(Word(word.word, word.start, word.end, word.probability) for word in own)
        timed.append(replace(segment, start=start, end=end, words=each))
    return timed


def _take_words(remaining: Iterator[TimedWord], segment: Segment, eot: int) -> list[TimedWord]:
    """Takes the words of a segment's tokens; returns them in seconds of the recording, rounded."""
    n_tokens = sum(token < eot for token in segment.tokens)
    offset = segment.seek * HOP_LENGTH / SAMPLE_RATE
    taken = []
    while n_tokens > 0 and (word := next(remaining, None)) is not None:
        n_tokens -= len(word.tokens)
        if word.word:
            word.start, word.end = round(offset + word.start, 2), round(offset + word.end, 2)
            taken.append(word)
    return taken


def _fit_to_words(
    segment: Segment, words: Sequence[TimedWord], pace: Pace, last_speech: float
) -> tuple[float, float]:
    """Returns the segment's start and end by its words; draws words far beyond it to its own.

    The first word after a pause is cut short, as attention to it begins anywhere in the pause.
    """
    first, last = words[0], words[-1]
    if first.end - last_speech > pace.median * 4:
        _shorten_after_pause(words, pace)
    start, end = segment.start, segment.end
    if start < first.end and start - _MAX_DRIFT > first.start:
        first.start = max(0.0, min(first.end - pace.median, start))
    else:
        start = first.start
    if end > last.start and end + _MAX_DRIFT < last.end:
        last.end = max(last.start + pace.median, end)
    else:
        end = last.end
    return start, end


def _shorten_after_pause(words: Sequence[TimedWord], pace: Pace) -> None:
    """Cuts the first word, and the second if that is long too, to twice the median duration."""
    first, second = words[0], words[1] if len(words) > 1 else None
    are_long = second is not None and second.end - first.start > pace.longest * 2
    if first.duration <= pace.longest and not are_long:
        return
    if second is not None and second.duration > pace.longest:
        first.end = second.start = max(second.end / 2, second.end - pace.longest)
    first.start = max(0.0, first.end - pace.longest)
