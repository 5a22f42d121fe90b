"""What is told to the user while something takes time: what is done, how far, how fast.

`Activity` shows nothing; it stands where there is no terminal to draw on, else `LiveActivity`.
"""

import re
import time


class Activity:
    """What is told to the user while something takes time; here: nothing."""

    is_live = False

    def show(
        self, what: str, done: float = 0, total: float | None = None, detail: str = ""
    ) -> None:
        """Shows a task and how much of it is done; without a total, only that it goes on."""

    def show_download(self, what: str, n_done: int, n_total: int | None) -> None:
        """Shows how many bytes of a file are here; the total is 0 or None where nobody told it."""
        of_all = f"/{n_total / 1e6:.1f}" if n_total else ""
        self.show(f"downloading {what}", n_done, n_total or None, f"{n_done / 1e6:.1f}{of_all} MB")


class Pace:
    """How fast audio is gone through, from the moment this is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self._began

    def detail(self, done: float, total: float) -> str:
        """`1:23/10:00  5.2x  1:40 left`, of seconds of audio."""
        seconds = self.seconds
        position = f"{clock(done)}/{clock(total)}"
        if done <= 0 or seconds <= 0:
            return position
        speed = done / seconds
        return f"{position}  {speed:.1f}x  {clock((total - done) / speed)} left"


def headline(words: str) -> str:
    """What fits into a live line: `compiling 6 graphs (a, b): once` -> `compiling 6 graphs`."""
    return re.split(r" \(|:", words, maxsplit=1)[0]


def clock(seconds: float) -> str:
    """`83.4` -> `1:23`, `3723` -> `1:02:03`."""
    n_minutes, n_seconds = divmod(round(seconds), 60)
    n_hours, n_minutes = divmod(n_minutes, 60)
    if n_hours:
        return f"{n_hours}:{n_minutes:02d}:{n_seconds:02d}"
    return f"{n_minutes}:{n_seconds:02d}"
