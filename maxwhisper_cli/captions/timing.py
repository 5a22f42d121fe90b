"""The time that a cue is shown: as long as its reader needs, and no longer than the next allows."""

import math
from dataclasses import dataclass

from maxwhisper_cli.captions.limits import Limits

ROUNDING_SECONDS = 0.0015
"""Tolerance where times are compared with limits: files hold milliseconds."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A cue's text as far as its time matters."""

    start: float
    """Start of the first word, in seconds."""
    end: float
    """End of the last word."""
    next_start: float
    """Start of the next cue, or infinity."""
    n_characters: int
    n_words: int


def reading_seconds(n_characters: int, n_words: int, limits: Limits) -> float:
    """Returns the time that it takes to read a cue at the highest speed that is allowed."""
    by_characters = n_characters / (limits.max_characters_per_second or math.inf)
    return max(by_characters, n_words * 60 / (limits.max_words_per_minute or math.inf))


def shown_until(cue: Shown, limits: Limits) -> float:
    """Returns the end of the time that a cue is shown.

    It stays after its last word for the sake of the shortest time and of the reading speed, ends
    the least gap before the next cue, and later if that closes a small gap.
    """
    needed = cue.start + reading_seconds(cue.n_characters, cue.n_words, limits)
    end = max(cue.end, min(needed, cue.end + limits.max_linger_seconds))
    end = max(end, cue.start + limits.min_seconds)
    latest = cue.next_start - limits.min_gap_seconds
    if latest <= cue.start:  # the gap would leave nothing of the cue
        return max(cue.start, min(end, cue.next_start))
    if end > latest:
        return latest
    closes_gap = cue.next_start - end < limits.close_gaps_below_seconds
    if closes_gap and latest - cue.start <= max(limits.max_seconds, end - cue.start):
        return latest
    return end


def broken_seconds(cue: Shown, limits: Limits) -> tuple[float, float, float]:
    """Returns the seconds by which a cue is too short to read, too short, and too long; or 0."""
    seconds = shown_until(cue, limits) - cue.start
    needed = reading_seconds(cue.n_characters, cue.n_words, limits)
    beyond = (needed - seconds, limits.min_seconds - seconds, seconds - limits.max_seconds)
    unread, short, long = (each if each > ROUNDING_SECONDS else 0.0 for each in beyond)
    return unread, short, long
