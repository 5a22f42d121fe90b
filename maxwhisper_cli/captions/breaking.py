"""The cheapest way to break pieces of text into cues and lines, by dynamic programming.

The total cost of a layout is the sum over its cues and the breaks between them, so the cheapest
layout of the first pieces is part of the cheapest of all. It decides breaks only; `timing` decides
how long a cue is shown.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from maxwhisper_cli.captions.grammar import Break
from maxwhisper_cli.captions.limits import Costs, Limits
from maxwhisper_cli.captions.pieces import Piece
from maxwhisper_cli.captions.timing import Shown, broken_seconds, reading_seconds


@dataclass(frozen=True, slots=True)
class Span:
    """Pieces of one cue: from the first to before `stop`."""

    line_starts: tuple[int, ...]
    """First piece of each line."""
    stop: int


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines from the first piece of a cue on."""

    cost: float
    starts: tuple[int, ...]
    stop: int
    last_width: int


class CueBreaker:
    """Breaks pieces into cues under the limits and costs of a style."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        breaks: Sequence[Break],
        limits: Limits,
        costs: Costs,
        end_seconds: float,
    ) -> None:
        """Prepares sums over the pieces.

        Args:
            pieces: The text, in order.
            breaks: Kind of break before each piece.
            limits: Limits of a cue.
            costs: Costs of a layout.
            end_seconds: Latest end of the last cue: that of the audio.
        """
        self._limits = limits
        self._costs = costs
        self._breaks = breaks
        self._starts = [piece.start for piece in pieces]
        self._ends = [piece.end for piece in pieces]
        self._next_starts = [*self._starts[1:], end_seconds + limits.min_gap_seconds]
        self._spaces = [int(piece.has_space_before) for piece in pieces]
        self._offsets = [0]
        """Width of the pieces before each, with the spaces before them."""
        for piece, space in zip(pieces, self._spaces, strict=True):
            self._offsets.append(self._offsets[-1] + piece.width + space)
        pauses = [max(0.0, b - a) for a, b in zip(self._ends, self._starts[1:], strict=False)]
        self._pauses = [0.0, *pauses]
        by_kind = (0.0, costs.clause_break, costs.phrase_break, costs.plain_break)
        break_costs = (*by_kind, costs.bound_break)
        self._break_costs = [break_costs[kind] for kind in breaks]

    def spans(self) -> list[Span]:
        """Returns the cues of the cheapest layout."""
        n_pieces = len(self._starts)
        totals = [0.0] + [math.inf] * n_pieces
        cheapest: list[_Lines | None] = [None] * (n_pieces + 1)
        for first in range(n_pieces):
            for lines in self._layouts(first):
                total = totals[first] + lines.cost + self._cost_of_text(first, lines.stop)
                if total < totals[lines.stop]:
                    totals[lines.stop] = total
                    cheapest[lines.stop] = lines
        spans: list[Span] = []
        stop = n_pieces
        while stop > 0:
            lines_before = cheapest[stop]
            assert lines_before is not None  # a single piece is always a layout
            spans.append(Span(lines_before.starts, stop))
            stop = lines_before.starts[0]
        return spans[::-1]

    def _layouts(self, first: int) -> Iterator[_Lines]:
        """Yields for each possible end of a cue its cheapest lines, as few as hold the text."""
        reached: set[int] = set()
        current = [_Lines(0.0, (first,), stop, width) for stop, width in self._ends_of(first)]
        for n_lines in range(1, self._limits.max_lines + 1):
            yield from current
            reached.update(lines.stop for lines in current)
            if n_lines < self._limits.max_lines:
                current = self._with_one_more_line(current, reached)

    def _with_one_more_line(self, upper: Sequence[_Lines], reached: set[int]) -> list[_Lines]:
        cheapest: dict[int, _Lines] = {}
        for lines in upper:
            start = lines.stop
            if start == len(self._starts) or self._is_long_pause(start):
                continue
            for stop, width in self._ends_of(start):
                if stop in reached:
                    continue
                cost = lines.cost + self._line_break_cost(start, lines.last_width, width)
                if stop not in cheapest or cost < cheapest[stop].cost:
                    cheapest[stop] = _Lines(cost, (*lines.starts, start), stop, width)
        return list(cheapest.values())

    def _ends_of(self, start: int) -> Iterator[tuple[int, int]]:
        """Yields the possible ends of a line, and its width; the first piece always fits."""
        for stop in range(start + 1, len(self._starts) + 1):
            width = self._width(start, stop)
            if stop > start + 1 and (
                width > self._limits.max_line_characters or self._is_long_pause(stop - 1)
            ):
                return
            yield stop, width

    def _width(self, start: int, stop: int) -> int:
        return self._offsets[stop] - self._offsets[start] - self._spaces[start]

    def _is_long_pause(self, index: int) -> bool:
        return self._pauses[index] > self._limits.max_pause_seconds

    def _line_break_cost(self, index: int, upper: int, lower: int) -> float:
        difference = (upper - lower) / self._limits.max_line_characters
        shape = self._costs.top_heavy if difference > 0 else -self._costs.bottom_heavy
        share = self._costs.line_break_share
        return self._costs.line + share * self._break_costs[index] + shape * difference

    def cost_of(self, line_starts: tuple[int, ...], stop: int) -> float:
        """Returns the cost of a cue and of the break after it.

        Args:
            line_starts: First piece of each line.
            stop: First piece after the cue.
        """
        lines = list(pairwise((*line_starts, stop)))
        widths = [self._width(*pieces) for pieces in lines]
        breaks = zip(line_starts[1:], pairwise(widths), strict=True)
        return self._cost_of_text(line_starts[0], stop) + sum(
            self._line_break_cost(index, upper, lower) for index, (upper, lower) in breaks
        )

    def _cost_of_text(self, first: int, stop: int) -> float:
        """Returns the cost of a cue without its line breaks, and of the break after it."""
        costs = self._costs
        inside = range(first + 1, stop)
        n_sentences = sum(self._breaks[index] == Break.SENTENCE for index in inside)
        cost = costs.cue + n_sentences * costs.sentence_inside
        cost += costs.pause * sum(self._pauses[first + 1 : stop])
        if stop < len(self._starts):
            cost += self._break_costs[stop]
        n_characters = self._width(first, stop)
        shown = Shown(
            self._starts[first],
            max(self._ends[first:stop]),
            self._next_starts[stop - 1],
            n_characters,
            stop - first,
        )
        unread, short, long = broken_seconds(shown, self._limits)
        if unread or short or long:
            cost += costs.broken_rule * ((unread > 0) + (short > 0) + (long > 0))
            cost += costs.missing_second * (short + long)
            if unread:
                share = unread / reading_seconds(n_characters, shown.n_words, self._limits)
                cost += costs.unread_character * n_characters * share
        return cost
