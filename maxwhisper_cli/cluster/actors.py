"""Actors of a Ray cluster that transcribe units; nothing else imports Ray.

There is one actor for each GPU, or without GPUs one for `threads` processors. Each asks for its
next unit when less than a batch is left. A unit whose actor dies is given to another; actors on
nodes that join late are added. Recordings that fail are tried again by another actor, if there is
one. Where there are GPUs, tasks on all nodes read. Weights, and the graphs that the first actor
compiled, go through the object store. Output is not written here: records go back to the machine
that began the run.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from maxwhisper_cli.cluster.actor import Event, Ready, Refused, Transcriber, Wants, Worker
from maxwhisper_cli.cluster.plan import Unit
from maxwhisper_cli.cluster.reading import Samples, read_samples
from maxwhisper_cli.cluster.shared_files import SharedFile
from maxwhisper_cli.cluster.worker import FinishedUnit
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.recording import RecordingRequest

_MIN_READ: Final = 2
_MAX_READ: Final = 64
"""Recordings that an actor lets others read at a time."""
_LOOK_SECONDS: Final = 1.0
"""Time between two looks at the cluster's size."""
_MAX_LOSSES: Final = 5
"""Actors that may die with one unit, which is then given up."""
_CALLS_AT_ONCE: Final = 4
"""Calls of an actor that may run at a time: one waits for events."""


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


@dataclass(frozen=True, slots=True)
class TaskReader:
    """Reads recordings in tasks of the cluster, each on one processor of any node."""

    n_at_once: int
    """Tasks of one actor at a time."""

    def __call__(self, request: "RecordingRequest", reading: "ReadingOptions") -> Samples:
        """Reads a recording in a task, and waits for it; a lost task is begun again."""
        import ray

        task = ray.remote(num_cpus=1, max_retries=3, scheduling_strategy="SPREAD")(read_samples)
        found: Samples = ray.get(task.remote(request, reading))
        return found


@dataclass(slots=True, eq=False)
class Actor:
    """An actor and the units that it has."""

    handle: Any
    number: int
    ready: Ready | None = None
    """Model that it has loaded; None until then."""
    wants: bool = False
    """True if less than a batch is left there."""
    units: dict[int, Unit] = field(default_factory=dict)


class ActorPool:
    """Actors that transcribe units; iterate once over what they finish."""

    def __init__(
        self,
        ray: Any,  # noqa: ANN401  (the module, which is imported only here)
        make_worker: Callable[[TaskReader | None], Worker],
        units: Sequence[Unit],
        n_threads: int = 1,
        files: Sequence[SharedFile] = (),
    ) -> None:
        """Starts nothing yet.

        Args:
            ray: The connected module.
            make_worker: Makes the worker of an actor, in its process, with what reads elsewhere.
            units: Units in order.
            n_threads: Processors of an actor where there is no GPU.
            files: Files that each node needs.
        """
        self._ray = ray
        self._make_worker = make_worker
        self._waiting = deque(units)
        self._losses: dict[int, int] = {}
        self._first: dict[int, tuple[Actor, FinishedUnit]] = {}
        """Units with failed recordings, which another actor tries again, by their number."""
        self.actors: list[Actor] = []
        """Actors that are there."""
        self._n_started = 0
        self._n_places = 0
        """Actors that the cluster can hold."""
        self._refusals: list[str] = []
        """Reasons of the actors that could not load the model."""
        self._calls: dict[Any, Actor] = {}
        """Calls that wait for events."""
        has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
        self._kind = "GPU" if has_gpus else "CPU"
        self._share = 1 if has_gpus else max(1, n_threads)
        needs = {"num_gpus": 1} if has_gpus else {"num_cpus": self._share}
        settings = {"max_restarts": 0, "max_concurrency": _CALLS_AT_ONCE}
        self._remote = ray.remote(**needs, **settings)(Transcriber)
        self._shared: dict[tuple[str, str], Any] = {}
        """References of shared files by folder and name."""
        self._share_files(files)

    @property
    def n_workers(self) -> int:
        """Number of actors."""
        return len(self.actors)

    def __iter__(self) -> Iterator[tuple[int, str, FinishedUnit]]:
        """Yields units as they end, each with number and name of its actor.

        Raises:
            MaxWhisperError: A unit kills each actor that takes it, or no model can be loaded.
        """
        try:
            while self._waiting or any(each.units for each in self.actors):
                self._grow()
                self._feed()
                calls = list(self._calls)
                done, _ = self._ray.wait(calls, num_returns=1, timeout=_LOOK_SECONDS)
                for call in done:
                    yield from self._take(call)
        finally:
            for actor in self.actors:
                self._ray.kill(actor.handle)

    def _grow(self) -> None:
        """Adds actors for what the cluster has now; the first one alone, for it may compile."""
        self._n_places = int(self._ray.cluster_resources().get(self._kind, 0) // self._share)
        n_wanted = min(self._n_places - len(self._refusals), len(self._waiting) + len(self.actors))
        if not any(each.ready for each in self.actors):
            n_wanted = min(n_wanted, 1)
        while len(self.actors) < max(0 if self._refusals else 1, n_wanted):
            actor = Actor(self._remote.remote(), self._n_started)
            self._n_started += 1
            self.actors.append(actor)
            make_worker = partial(self._make_worker, self._reader())
            actor.handle.begin.remote(make_worker, list(self._shared), *self._shared.values())
            self._wait_for(actor)
        if not self.actors:
            raise MaxWhisperError(f"no worker can load the model: {'; '.join(self._refusals)}")

    def _share_files(self, files: Sequence[SharedFile]) -> None:
        """Puts files into the object store, each once."""
        import numpy as np

        for file in files:
            if (file.folder, file.name) not in self._shared:
                data = np.frombuffer(file.data, np.uint8)
                self._shared[file.folder, file.name] = self._ray.put(data)

    def _reader(self) -> "TaskReader | None":
        """Returns what reads in tasks on all nodes; None without GPUs: actors have all cores."""
        if self._kind != "GPU":
            return None
        resources = self._ray.cluster_resources()
        n_at_once = int(resources.get("CPU", 0) // max(1, resources.get("GPU", 1)))
        return TaskReader(min(max(_MIN_READ, n_at_once), _MAX_READ))

    def _wait_for(self, actor: Actor) -> None:
        self._calls[actor.handle.events.remote()] = actor

    def _feed(self) -> None:
        """Gives units to those that want one, the emptiest first; to none more than its share."""
        n_left = len(self._waiting) + sum(len(each.units) for each in self.actors)
        n_workers = max(1, self._n_places - len(self._refusals), len(self.actors))
        share = math.ceil(n_left / n_workers)
        for actor in sorted(self.actors, key=lambda each: len(each.units)):
            if not actor.wants or len(actor.units) >= share:
                continue
            if (unit := self._next_unit(actor)) is not None:
                actor.wants = False
                actor.units[unit.number] = unit
                actor.handle.add.remote(unit)

    def _next_unit(self, actor: Actor) -> Unit | None:
        """Takes the first unit for an actor; not one that failed there, if there are others."""
        for index, unit in enumerate(self._waiting):
            first = self._first.get(unit.number)
            if first is None or first[0] is not actor or len(self.actors) == 1:
                del self._waiting[index]
                return unit
        return None

    def _take(self, call: Any) -> Iterator[tuple[int, str, FinishedUnit]]:  # noqa: ANN401
        actor = self._calls.pop(call)
        try:
            events: list[Event] = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            raise MaxWhisperError(f"a worker of the cluster failed: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            self._lose(actor, error)
            return
        self._wait_for(actor)
        for event in events:
            if isinstance(event, Ready):
                actor.ready = event
                actor.wants = True
                self._share_files(event.artifacts)
            elif isinstance(event, Wants):
                actor.wants = True
            elif isinstance(event, Refused):
                self._refuse(actor, event)
            else:
                place = actor.ready.place if actor.ready else ""
                yield from ((actor.number, place, each) for each in self._finish(actor, event))

    def _finish(self, actor: Actor, finished: FinishedUnit) -> Iterator[FinishedUnit]:
        number = finished.unit.number
        del actor.units[number]
        if number in self._first:
            yield _merged(self._first.pop(number)[1], finished)
        elif finished.n_failed == 0:
            yield finished
        else:
            self._first[number] = actor, finished
            failed = {record["id"] for record in finished.records if "error" in record}
            entries = tuple(entry for entry in finished.unit.entries if entry.id in failed)
            self._waiting.appendleft(Unit(number, entries))

    def _refuse(self, actor: Actor, refused: Refused) -> None:
        if actor.ready is not None:
            raise MaxWhisperError(f"a worker of the cluster failed: {refused.reason}")
        self._refusals.append(refused.reason)
        self._drop(actor)
        self._ray.kill(actor.handle)

    def _lose(self, actor: Actor, error: Exception) -> None:
        """Takes the units of a lost actor back, before all others."""
        self._drop(actor)
        if actor.ready is None:
            self._refusals.append(f"its process ended: {error}")
        for number, unit in sorted(actor.units.items(), reverse=True):
            self._losses[number] = self._losses.get(number, 0) + 1
            if self._losses[number] >= _MAX_LOSSES:
                raise MaxWhisperError(
                    f"{_MAX_LOSSES} workers died with unit {number}: {error}"
                ) from error
            self._waiting.appendleft(unit)
        actor.units.clear()

    def _drop(self, actor: Actor) -> None:
        self.actors.remove(actor)
        self._calls = {call: each for call, each in self._calls.items() if each is not actor}


def _merged(first: FinishedUnit, second: FinishedUnit) -> FinishedUnit:
    """Returns a unit with the records of a second attempt in place of those that failed."""
    again = {record["id"]: record for record in second.records}
    records = [again.get(record["id"], record) for record in first.records]
    seconds = first.wall_seconds + second.wall_seconds
    waited = (first.reading_seconds or 0.0) + (second.reading_seconds or 0.0)
    return FinishedUnit(first.unit, records, seconds, waited)
