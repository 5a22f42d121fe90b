"""Units on a Ray cluster: actors that each hold a model and pull work; nothing else imports Ray.

There is one actor for each GPU, or without GPUs one for `threads` processors. Each has the unit it
works on and the next one. A unit whose actor dies is given to another; actors on nodes that join
late are added. Recordings that fail are tried again by another actor, if there is one. Output is
not written here: records go back to the machine that began the run.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from maxwhisper_cli.cluster.plan import Unit
from maxwhisper_cli.cluster.worker import FinishedUnit
from weights.errors import MaxWhisperError

_UNITS_AHEAD: Final = 2
"""Units that an actor has at a time: the one it works on, and the next."""
_LOOK_SECONDS: Final = 2.0
"""Time between two looks at the cluster's size."""
_MAX_LOSSES: Final = 5
"""Actors that may die with one unit, which is then given up."""

MakeWorker = Callable[[], Any]
"""Makes a `UnitWorker` where it runs."""


def connect(address: str) -> Any:  # noqa: ANN401  (the module ray)
    """Connects to a cluster, or with `auto` starts one on this machine if there is none.

    Raises:
        MaxWhisperError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise MaxWhisperError("--cluster needs ray: pip install 'maxwhisper[cluster]'") from error
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        try:
            ray.init(address=address, **quiet)
        except ConnectionError:
            if address != "auto":
                raise
            ray.init(include_dashboard=False, **quiet)
    except Exception as error:
        raise MaxWhisperError(f"no Ray cluster at {address}: {error}") from error
    return ray


@dataclass(slots=True, eq=False)
class _Actor:
    """An actor and the units that it has."""

    handle: Any
    is_ready: bool = False
    units: list[Unit] = field(default_factory=list)


class ActorPool:
    """Actors that transcribe units; iterate once over what they finish."""

    def __init__(
        self,
        ray: Any,  # noqa: ANN401  (the module, which is imported only here)
        make_worker: MakeWorker,
        units: Sequence[Unit],
        n_threads: int = 1,
    ) -> None:
        """Starts nothing yet.

        Args:
            ray: The connected module.
            make_worker: Makes the worker of an actor, in its process.
            units: Units in order.
            n_threads: Processors of an actor where there is no GPU.
        """
        self._ray = ray
        self._waiting = deque(units)
        self._losses: dict[int, int] = {}
        self._first: dict[int, tuple[_Actor, FinishedUnit]] = {}
        """Units with failed recordings, which another actor tries again, by their number."""
        self._actors: list[_Actor] = []
        self._running: dict[Any, tuple[_Actor, Unit]] = {}
        has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
        self._kind = "GPU" if has_gpus else "CPU"
        self._share = 1 if has_gpus else max(1, n_threads)
        needs = {"num_gpus": 1} if has_gpus else {"num_cpus": self._share}
        self._remote = ray.remote(**needs, max_restarts=0)(_Transcriber)
        self._make_worker = make_worker

    @property
    def n_workers(self) -> int:
        """Actors that are there."""
        return len(self._actors)

    def __iter__(self) -> Iterator[FinishedUnit]:
        """Yields units as they end.

        Raises:
            MaxWhisperError: A unit kills each actor that takes it, or no model can be loaded.
        """
        try:
            while self._waiting or self._running:
                self._grow()
                self._feed()
                done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_LOOK_SECONDS)
                for reference in done:
                    yield from self._take(reference)
        finally:
            for actor in self._actors:
                self._ray.kill(actor.handle)

    def _grow(self) -> None:
        """Adds actors for what the cluster has now."""
        n_places = int(self._ray.cluster_resources().get(self._kind, 0) // self._share)
        n_wanted = min(n_places, len(self._waiting) + len(self._actors))
        while len(self._actors) < max(1, n_wanted):
            self._actors.append(_Actor(self._remote.remote(self._make_worker)))

    def _feed(self) -> None:
        """Gives each actor its next units, those with the fewest first."""
        while self._waiting:
            actor = self._next_actor(self._waiting[0])
            is_last_work = len(self._waiting) < len(self._actors)
            if len(actor.units) >= (1 if is_last_work else _UNITS_AHEAD):
                return
            unit = self._waiting.popleft()
            actor.units.append(unit)
            self._running[actor.handle.transcribe.remote(unit)] = actor, unit

    def _next_actor(self, unit: Unit) -> _Actor:
        """Returns the actor with the fewest units; not the one that failed with this one."""
        failed = self._first[unit.number][0] if unit.number in self._first else None
        others = [actor for actor in self._actors if actor is not failed]
        return min(others or self._actors, key=lambda each: len(each.units))

    def _take(self, reference: Any) -> Iterator[FinishedUnit]:  # noqa: ANN401
        actor, unit = self._running.pop(reference)
        try:
            finished = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise MaxWhisperError(f"a worker of the cluster failed: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            self._lose(actor, unit, error)
            return
        actor.units.remove(unit)
        if unit.number in self._first:
            yield _merged(self._first.pop(unit.number)[1], finished)
        elif finished.n_failed == 0:
            yield finished
        else:
            self._first[unit.number] = actor, finished
            failed = {record["id"] for record in finished.records if "error" in record}
            entries = tuple(entry for entry in unit.entries if entry.id in failed)
            self._waiting.appendleft(Unit(unit.number, entries))

    def _lose(self, actor: _Actor, unit: Unit, error: Exception) -> None:
        """Takes the units of a lost actor back, before all others."""
        self._losses[unit.number] = self._losses.get(unit.number, 0) + 1
        if self._losses[unit.number] >= _MAX_LOSSES:
            raise MaxWhisperError(
                f"{_MAX_LOSSES} workers died with unit {unit.number}: {error}"
            ) from error
        if actor in self._actors:
            self._actors.remove(actor)
        actor.units.remove(unit)
        self._waiting.appendleft(unit)


def _merged(first: FinishedUnit, second: FinishedUnit) -> FinishedUnit:
    """Returns a unit with the records of a second attempt in place of those that failed."""
    again = {record["id"]: record for record in second.records}
    records = [again.get(record["id"], record) for record in first.records]
    return FinishedUnit(first.unit, records, first.wall_seconds + second.wall_seconds)


class _Transcriber:
    """Actor: a model in a process of its own."""

    def __init__(self, make_worker: MakeWorker) -> None:
        """Loads the model."""
        self._worker = make_worker()

    def transcribe(self, unit: Unit) -> FinishedUnit:
        """Transcribes one unit."""
        return next(iter(self._worker.transcribe([unit])))
