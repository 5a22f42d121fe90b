"""A caption style's layout: text broken by words and times, whatever the segments were.

Each speaker's text is laid out by itself, and the cues of all are sorted by time.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from maxwhisper_cli.captions.breaking import CueBreaker, Span
from maxwhisper_cli.captions.cues import Cue, cue_of_words
from maxwhisper_cli.captions.grammar import Break, Grammar, grammar_of
from maxwhisper_cli.captions.limits import Costs, Limits
from maxwhisper_cli.captions.pieces import Piece, pieces_of
from maxwhisper_cli.captions.style import CaptionStyle
from maxwhisper_cli.captions.timing import (
    ROUNDING_SECONDS,
    Shown,
    broken_seconds,
    shown_until,
)
from maxwhisper_cli.transcription.segments import Segment, Word


@dataclass(frozen=True, slots=True)
class StyledCues:
    """Cues in a style, and the number of them that break each rule."""

    cues: tuple[Cue, ...]
    broken: Mapping[str, int]
    """Number of cues by the rule that they break, as a phrase such as `longer than 7 s`."""


def lay_out_in_style(
    segments: Sequence[Segment], style: CaptionStyle, language: str, end_seconds: float
) -> StyledCues:
    """Returns the cues of segments with words.

    Args:
        segments: What was said, by one speaker or several.
        style: Rules of the cues.
        language: Code of the language of the text.
        end_seconds: End of the audio, after which no cue stays longer than its words.
    """
    by_speaker: dict[str | None, list[Segment]] = {}
    for segment in segments:
        by_speaker.setdefault(segment.speaker, []).append(segment)
    grammar, limits = grammar_of(language), style.limits_for(language)
    if not grammar.has_spaces:
        limits = replace(limits, max_words_per_minute=None)
    cues: list[Cue] = []
    broken: Counter[str] = Counter()
    for own in by_speaker.values():
        track = _Track(own, grammar, limits, style.costs, end_seconds)
        cues += track.cues()
        broken += track.broken_rules()
    return StyledCues(tuple(sorted(cues, key=lambda cue: (cue.start, cue.end))), broken)


class _Track:
    """One speaker's text, broken into cues."""

    def __init__(
        self,
        segments: Sequence[Segment],
        grammar: Grammar,
        limits: Limits,
        costs: Costs,
        end_seconds: float,
    ) -> None:
        self._speaker = segments[0].speaker
        self._limits = limits
        self._pieces = pieces_of(segments, has_spaces=grammar.has_spaces)
        self._breaks = grammar.breaks([piece.text for piece in self._pieces])
        self._end_seconds = max([end_seconds, *(piece.end for piece in self._pieces)])
        self._spans = CueBreaker(
            self._pieces, self._breaks, limits, costs, self._end_seconds
        ).spans()
        self._shown = [self._time_of(span) for span in self._spans]

    def cues(self) -> Iterator[Cue]:
        """Yields the cues; the last words of each end when it does, if it is cut for a gap."""
        for span, shown in zip(self._spans, self._shown, strict=True):
            end = shown_until(shown, self._limits)
            words = [
                replace(word, start=min(word.start, end), end=min(word.end, end))
                for word in self._words_of(span)
            ]
            yield replace(cue_of_words(words, self._speaker), end=end)

    def broken_rules(self) -> Counter[str]:
        """Counts the cues that break each rule."""
        names = _rule_names(self._limits)
        broken: Counter[str] = Counter()
        for span, shown in zip(self._spans, self._shown, strict=True):
            unread, short, long = broken_seconds(shown, self._limits)
            is_broken = {
                names.line: self._has_long_line(span),
                names.speed: unread > 0,
                names.short: short > 0,
                names.long: long > 0,
                names.split: self._splits_phrase(span),
            }
            broken.update(rule for rule, is_so in is_broken.items() if is_so)
        for one, following in pairwise(self._shown):
            gap = following.start - shown_until(one, self._limits)
            broken[names.gap] += gap < self._limits.min_gap_seconds - ROUNDING_SECONDS
        return +broken

    def _time_of(self, span: Span) -> Shown:
        pieces = self._pieces[span.line_starts[0] : span.stop]
        is_last = span.stop == len(self._pieces)
        return Shown(
            start=pieces[0].start,
            end=max(piece.end for piece in pieces),
            next_start=self._end_seconds + self._limits.min_gap_seconds
            if is_last
            else self._pieces[span.stop].start,
            n_characters=_width(pieces),
            n_words=len(pieces),
        )

    def _words_of(self, span: Span) -> Iterator[Word]:
        first, *line_starts = span.line_starts
        yield from self._pieces[first].words
        for index in range(first + 1, span.stop):
            piece = self._pieces[index]
            yield from (piece.after_line_feed() if index in line_starts else piece.after_space())

    def _has_long_line(self, span: Span) -> bool:
        lines = pairwise((*span.line_starts, span.stop))
        widths = (_width(self._pieces[start:stop]) for start, stop in lines)
        return max(widths) > self._limits.max_line_characters

    def _splits_phrase(self, span: Span) -> bool:
        """Tells if a phrase is split at the beginning of a line, the first included."""
        return any(self._breaks[start] == Break.BOUND for start in span.line_starts)


def _width(pieces: Sequence[Piece]) -> int:
    return sum(piece.width for piece in pieces) + sum(p.has_space_before for p in pieces[1:])


@dataclass(frozen=True, slots=True)
class _RuleNames:
    """Phrases for rules in a report, with their limits."""

    line: str
    speed: str
    short: str
    long: str
    gap: str
    split: str


def _rule_names(limits: Limits) -> _RuleNames:
    """Returns the phrases of rules, as they follow a number of cues."""
    speeds = []
    if limits.max_characters_per_second is not None:
        speeds.append(f"{limits.max_characters_per_second:g} characters a second")
    if limits.max_words_per_minute is not None:
        speeds.append(f"{limits.max_words_per_minute:g} words a minute")
    return _RuleNames(
        line=f"with a line over {limits.max_line_characters} characters",
        speed=f"faster than {' or '.join(speeds)}",
        short=f"shorter than {limits.min_seconds:.2g} s",
        long=f"longer than {limits.max_seconds:g} s",
        gap=f"with a gap under {limits.min_gap_seconds:.2g} s",
        split="splitting a phrase",
    )
