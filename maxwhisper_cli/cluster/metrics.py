"""Metrics of a run in Ray's dashboard, and for whatever collects them there (Prometheus)."""

from typing import Any

from maxwhisper_cli.cluster.progress import Tally


class Metrics:
    """Gauges of a run; set after each unit."""

    def __init__(self, ray: Any) -> None:  # noqa: ANN401  (the module)
        """Makes the gauges."""
        del ray
        from ray.util.metrics import Gauge

        def gauge(name: str, description: str, *tags: str) -> Any:  # noqa: ANN401
            return Gauge(f"maxwhisper_{name}", description=description, tag_keys=tags)

        self._totals = {
            "audio_seconds": gauge("audio_seconds", "Seconds of audio that are done"),
            "units_done": gauge("units_done", "Units that are done"),
            "units": gauge("units", "Units that were to be done"),
            "failed": gauge("failed_recordings", "Recordings that failed twice"),
            "workers": gauge("workers", "Workers"),
            "speed": gauge("speed", "Seconds of audio a second, of all workers"),
            "cost": gauge("cost", "Price of all workers so far"),
        }
        self._speed = gauge("worker_speed", "Seconds of audio a second with work", "worker")
        self._reading = gauge(
            "worker_waits_for_reading", "Part of the time that waits for reading", "worker"
        )

    def set(self, tally: Tally) -> None:
        """Sets all gauges."""
        record = {**tally.record(), "audio_seconds": tally.audio_seconds}
        for name, gauge in self._totals.items():
            value = record.get(name)
            if isinstance(value, int | float):
                gauge.set(float(value))
        for number, worker in tally.workers.items():
            tags = {"worker": f"{number}: {worker.place}"}
            self._speed.set(worker.speed, tags)
            if worker.reading_share is not None:
                self._reading.set(worker.reading_share, tags)
