"""Progress of a run over units: what is done, how fast, what is left, and what it costs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from maxwhisper_cli.activity import clock
from maxwhisper_cli.cluster.plan import Unit


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
    begin: float = field(default_factory=time.perf_counter)

    def add(self, unit: Unit, records: Sequence[dict[str, Any]]) -> None:
        """Counts a finished unit."""
        self.n_done += 1
        self.left_seconds -= unit.seconds
        self.n_recordings += len(records)
        self.n_failed += sum("error" in record for record in records)
        self.audio_seconds += sum(record.get("seconds", 0.0) for record in records)

    @property
    def wall_seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.begin

    @property
    def speed(self) -> float:
        """Seconds of audio per second of wall time, of all workers."""
        return self.audio_seconds / max(self.wall_seconds, 1e-9)

    def line(self) -> str:
        """Returns one line about the state."""
        parts = [
            f"{self.n_done} of {self.n_units} units",
            f"{self.audio_seconds / 3600:.2f} h of audio",
            f"{self.speed:.0f}x real time",
        ]
        if self.n_workers > 1:
            parts.append(f"{self.speed / self.n_workers:.0f}x for each of {self.n_workers} workers")
        if self.n_failed:
            parts.append(f"{self.n_failed} failed")
        if self.n_done < self.n_units and self.speed > 0:
            parts.append(f"about {clock(max(0.0, self.left_seconds) / self.speed)} left")
        if self.price_per_hour is not None:
            parts.append(f"{self.cost:.2f} spent")
        return ", ".join(parts)

    @property
    def cost(self) -> float:
        """Price of all workers so far."""
        return (self.price_per_hour or 0.0) * self.n_workers * self.wall_seconds / 3600

    def record(self) -> dict[str, object]:
        """Returns the state as fields of JSON."""
        fields: dict[str, object] = {
            "units_done": self.n_done,
            "units": self.n_units,
            "recordings": self.n_recordings,
            "failed": self.n_failed,
            "audio_hours": round(self.audio_seconds / 3600, 4),
            "wall_seconds": round(self.wall_seconds, 3),
            "speed": round(self.speed, 2),
            "workers": self.n_workers,
        }
        if self.price_per_hour is not None:
            fields["cost"] = round(self.cost, 4)
        return fields
