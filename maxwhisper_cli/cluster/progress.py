"""Progress of a run over units: done, speed, what waits for what, left, and cost."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from maxwhisper_cli.activity import clock
from maxwhisper_cli.cluster.worker import FinishedUnit


@dataclass(slots=True)
class WorkerTally:
    """Counts of one worker."""

    place: str
    """Name for the user."""
    n_done: int = 0
    audio_seconds: float = 0.0
    busy_seconds: float = 0.0
    """Seconds in which it had units."""
    reading_seconds: float | None = None
    """Seconds of these in which computing waited for reading; None where nothing measures it."""

    @property
    def speed(self) -> float:
        """Seconds of audio per second with work."""
        return self.audio_seconds / max(self.busy_seconds, 1e-9)

    @property
    def reading_share(self) -> float | None:
        """Part of the time in which computing waited for reading."""
        if self.reading_seconds is None:
            return None
        return self.reading_seconds / max(self.busy_seconds, 1e-9)

    def add(self, finished: FinishedUnit) -> None:
        """Counts a finished unit."""
        self.n_done += 1
        self.audio_seconds += finished.seconds
        self.busy_seconds += finished.wall_seconds
        if finished.reading_seconds is not None:
            self.reading_seconds = (self.reading_seconds or 0.0) + finished.reading_seconds

    def record(self) -> dict[str, object]:
        """Returns the counts as fields of JSON."""
        share = self.reading_share
        return {
            "worker": self.place,
            "units_done": self.n_done,
            "audio_hours": round(self.audio_seconds / 3600, 4),
            "busy_seconds": round(self.busy_seconds, 3),
            "speed": round(self.speed, 2),
            "waits_for_reading": None if share is None else round(share, 3),
        }


@dataclass(slots=True)
class Tally:
    """Counts of one run."""

    n_units: int
    """Units that are to be done now."""
    left_seconds: float
    """Seconds of audio of these, as planned."""
    price_per_hour: float | None = None
    """Price of one worker's hour."""
    n_workers: int = 1
    n_done: int = 0
    n_recordings: int = 0
    n_failed: int = 0
    audio_seconds: float = 0.0
    workers: dict[int, WorkerTally] = field(default_factory=dict)
    begin: float = field(default_factory=time.perf_counter)

    def add(self, finished: FinishedUnit, worker: int, place: str) -> None:
        """Counts a finished unit.

        Args:
            finished: The unit.
            worker: Number of the worker that finished it.
            place: Its name for the user.
        """
        self.n_done += 1
        self.left_seconds -= finished.unit.seconds
        self.n_recordings += len(finished.records)
        self.n_failed += finished.n_failed
        self.audio_seconds += finished.seconds
        self.workers.setdefault(worker, WorkerTally(place)).add(finished)

    @property
    def wall_seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.begin

    @property
    def speed(self) -> float:
        """Seconds of audio per second of wall time, of all workers."""
        return self.audio_seconds / max(self.wall_seconds, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds that are left; None before anything is known."""
        if self.n_done >= self.n_units or self.speed <= 0:
            return None
        return max(0.0, self.left_seconds) / self.speed

    @property
    def reading_share(self) -> float | None:
        """Part of the workers' time in which computing waited for reading."""
        measured = [each for each in self.workers.values() if each.reading_seconds is not None]
        busy = sum(each.busy_seconds for each in measured)
        return sum(each.reading_seconds or 0.0 for each in measured) / busy if busy else None

    @property
    def cost(self) -> float:
        """Price of all workers so far."""
        return (self.price_per_hour or 0.0) * self.n_workers * self.wall_seconds / 3600

    def line(self) -> str:
        """Returns one line about the state."""
        parts = [
            f"{self.n_done} of {self.n_units} units",
            f"{self.audio_seconds / 3600:.2f} h of audio",
            f"{self.speed:.0f}x real time",
        ]
        if self.n_workers > 1:
            parts.append(f"{self.speed / self.n_workers:.0f}x for each of {self.n_workers} workers")
        if (share := self.reading_share) is not None:
            parts.append(f"{share:.0%} waits for reading")
        if self.n_failed:
            parts.append(f"{self.n_failed} failed")
        if (left := self.left) is not None:
            parts.append(f"about {clock(left)} left")
        if self.price_per_hour is not None:
            parts.append(f"{self.cost:.2f} spent")
        return ", ".join(parts)

    def record(self) -> dict[str, object]:
        """Returns the state as fields of JSON."""
        left, share = self.left, self.reading_share
        fields: dict[str, object] = {
            "units_done": self.n_done,
            "units": self.n_units,
            "recordings": self.n_recordings,
            "failed": self.n_failed,
            "audio_hours": round(self.audio_seconds / 3600, 4),
            "wall_seconds": round(self.wall_seconds, 3),
            "speed": round(self.speed, 2),
            "workers": self.n_workers,
            "seconds_left": None if left is None else round(left, 1),
            "waits_for_reading": None if share is None else round(share, 3),
        }
        if self.price_per_hour is not None:
            fields["cost"] = round(self.cost, 4)
        return fields

    def rows(self) -> Sequence[tuple[str, ...]]:
        """Returns the cells of a table: a row for each worker."""
        return [
            (
                each.place,
                str(each.n_done),
                clock(each.audio_seconds),
                f"{each.speed:.0f}x",
                "" if each.reading_share is None else f"{each.reading_share:.0%}",
            )
            for _, each in sorted(self.workers.items())
        ]
