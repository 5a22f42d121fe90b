"""An actor of a cluster: a model in a process of its own, and the events that it reports.

It asks for its next unit when less than a batch of recordings is left, so that rows stay full.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol

from maxwhisper_cli.cluster.plan import Unit
from maxwhisper_cli.cluster.shared_files import SharedFile, install, new_artifacts
from maxwhisper_cli.cluster.unit_feed import UnitFeed
from maxwhisper_cli.cluster.worker import FinishedUnit
from weights.errors import MaxWhisperError


class Worker(Protocol):
    """Interface of `UnitWorker` as an actor uses it."""

    @property
    def place(self) -> str:
        """Implementation, device and machine, for the user."""

    @property
    def n_rows(self) -> int:
        """Recordings that are worked on at a time."""

    def request(self, entry: Any) -> Any:  # noqa: ANN401
        """Returns what is read of a recording."""

    def transcribe_feed(self, feed: UnitFeed[Any]) -> Any:  # noqa: ANN401
        """Yields units as they end."""


MakeWorker = Callable[[], Worker]
"""Makes a worker where it runs."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    place: str
    seconds: float
    """Seconds that it took."""
    artifacts: tuple[SharedFile, ...] = ()
    """Graphs that were compiled for it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The model cannot be loaded, or work ended with an error of the program."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wants:
    """Less than a batch is left."""


Event = Ready | Refused | Wants | FinishedUnit


class Transcriber:
    """Actor: its methods are called from the process that began the run, several at a time."""

    def __init__(self) -> None:
        """Loads nothing yet."""
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._units: SimpleQueue[Unit | None] = SimpleQueue()
        self._feed: UnitFeed[Any] | None = None

    def begin(
        self,
        make_worker: MakeWorker,
        places: Sequence[tuple[str, str]],
        *contents: Any,  # noqa: ANN401
    ) -> None:
        """Begins to load the model, in a thread.

        Args:
            make_worker: Loads it.
            places: Folder and name of files that must be here before.
            contents: Their bytes.
        """
        files = [SharedFile(*place, data) for place, data in zip(places, contents, strict=True)]
        Thread(target=self._run, args=(make_worker, files), daemon=True).start()

    def add(self, unit: Unit) -> None:
        """Adds a unit to what is to be done."""
        assert self._feed is not None
        self._feed.add(unit)

    def events(self) -> list[Event]:
        """Waits for an event; returns all that there are."""
        found = [self._events.get()]
        while True:
            try:
                found.append(self._events.get_nowait())
            except Empty:
                return found

    def _run(self, make_worker: MakeWorker, files: Sequence[SharedFile]) -> None:
        try:
            began, began_at = time.perf_counter(), time.time()
            install(files)
            worker = make_worker()
            self._feed = UnitFeed(worker.request, worker.n_rows, lambda: self._events.put(Wants()))
            seconds = time.perf_counter() - began
            self._events.put(Ready(worker.place, seconds, new_artifacts(began_at)))
            for finished in worker.transcribe_feed(self._feed):
                self._events.put(finished)
        except MaxWhisperError as error:
            self._events.put(Refused(str(error)))
        except Exception as error:  # noqa: BLE001  (it ends the run, in the process that began it)
            self._events.put(Refused(f"{type(error).__name__}: {error}"))
