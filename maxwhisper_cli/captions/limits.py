"""Limits and costs of a caption style: the numbers that its rules are made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from maxwhisper_cli.transcription.option_types import real, whole

_seconds = partial(real, minimum=0, maximum=3600)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a cue; each names its unit."""

    max_line_characters: int = 42
    """Characters in a line, spaces included; marks without a width do not count."""
    max_lines: int = 2
    max_characters_per_second: float | None = None
    """Reading speed, by the time that the cue is shown; None does not limit it."""
    max_words_per_minute: float | None = None
    """Reading speed in words, for languages with spaces between them."""
    min_seconds: float = 0.833
    """Shortest time that a cue is shown."""
    max_seconds: float = 7.0
    """Longest time that a cue is shown."""
    min_gap_seconds: float = 0.083
    """Least time between cues."""
    close_gaps_below_seconds: float = 0.5
    """Gaps below this become the least gap."""
    max_linger_seconds: float = 0.5
    """Longest time that a cue stays after its last word for the sake of the reading speed."""
    max_pause_seconds: float = 2.0
    """Longest pause between the words of a cue."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of what a layout does, of which the cheapest is chosen; see README.md."""

    cue: float = 8.0
    """Each cue."""
    line: float = 2.0
    """Each line of a cue after the first."""
    clause_break: float = 2.0
    """Break after a comma or the like; one after a sentence costs nothing."""
    phrase_break: float = 5.0
    """Break before a conjunction or preposition."""
    plain_break: float = 9.0
    """Break between other words."""
    bound_break: float = 45.0
    """Break inside what belongs together, such as article and noun."""
    line_break_share: float = 0.6
    """Share of a break's cost that counts at the end of a line within a cue."""
    sentence_inside: float = 6.0
    """End of a sentence inside a cue."""
    pause: float = 8.0
    """Each second of silence inside a cue."""
    top_heavy: float = 10.0
    """Upper line longer than the one below it, by the share of a whole line."""
    bottom_heavy: float = 4.0
    """Lower line longer than the one above it, by the share of a whole line."""
    broken_rule: float = 20.0
    """Each cue that breaks a limit of time or reading speed."""
    unread_character: float = 1.5
    """Each character, in the time that a cue is shown too short."""
    missing_second: float = 20.0
    """Each second that a cue is shown too short or too long."""


CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "max_line_characters": partial(whole, minimum=1, maximum=1000),
    "max_lines": partial(whole, minimum=1, maximum=4),
    "max_characters_per_second": partial(real, minimum=1, maximum=1000),
    "max_words_per_minute": partial(real, minimum=1, maximum=10000),
    "min_seconds": _seconds,
    "max_seconds": _seconds,
    "min_gap_seconds": _seconds,
    "close_gaps_below_seconds": _seconds,
    "max_linger_seconds": _seconds,
    "max_pause_seconds": _seconds,
    **{field.name: partial(real, minimum=0, maximum=1e6) for field in fields(Costs)},
}
"""The check of each number by itself."""
