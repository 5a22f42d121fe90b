"""Progress of a long task: its name, how far it is, and its speed.

`Activity` shows nothing, for streams that are no terminal; `LiveActivity` draws on one.
"""

import re
import time


class Activity:
    """Interface of progress displays; this one shows nothing."""

    is_live = False

    def show(
        self, task: str, done: float = 0, total: float | None = None, detail: str = ""
    ) -> None:
        """Shows a task and its progress; without a total, only that it is running."""

    def show_download(self, task: str, n_done: int, n_total: int | None) -> None:
        """Shows the bytes received of a file; the total is 0 or None if it is unknown."""
        of_all = f"/{n_total / 1e6:.1f}" if n_total else ""
        self.show(f"downloading {task}", n_done, n_total or None, f"{n_done / 1e6:.1f}{of_all} MB")


class Pace:
    """Speed of a transcription, from the creation of this object."""

    def __init__(self) -> None:
        self._start_time = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time since creation."""
        return time.perf_counter() - self._start_time

    def detail(self, done: float, total: float) -> str:
        """Returns `1:23/10:00  5.2x  1:40 left`, from seconds of audio."""
        seconds = self.seconds
        position = f"{clock(done)}/{clock(total)}"
        if done <= 0 or seconds <= 0:
            return position
        speed = done / seconds
        return f"{position}  {speed:.1f}x  {clock((total - done) / speed)} left"


def headline(text: str) -> str:
    """Returns the start of a message: `compiling 6 graphs (a, b): once` -> `compiling 6 graphs`."""
    return re.split(r" \(|:", text, maxsplit=1)[0]


def clock(seconds: float) -> str:
    """Returns `1:23` for 83.4, and `1:02:03` for 3723."""
    n_minutes, n_seconds = divmod(round(seconds), 60)
    n_hours, n_minutes = divmod(n_minutes, 60)
    if n_hours:
        return f"{n_hours}:{n_minutes:02d}:{n_seconds:02d}"
    return f"{n_minutes}:{n_seconds:02d}"
