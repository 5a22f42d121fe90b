"""Process of one device: loads a model, and transcribes what it gets for as long as it gets some.

Run as a program, with the descriptor of a pipe to its parent; it ends with that pipe.
"""

import os
import sys
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from maxwhisper_cli.devices.messages import (
    Advanced,
    Ended,
    Facts,
    Given,
    Idle,
    Job,
    Load,
    Note,
    Over,
    Ready,
    Refused,
    Segments,
    Stop,
    Want,
)
from maxwhisper_cli.throughput.feed import Feed
from maxwhisper_cli.transcription.segments import Progress, Segment
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.throughput.several import Finished


class _Parent:
    """The pipe to the parent; a thread of its own receives."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self._sending = Lock()
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.is_stopped = False

    def send(self, message: object) -> None:
        """Sends a message; ends this process if the parent is gone."""
        try:
            with self._sending:
                self._connection.send(message)
        except OSError:
            os._exit(1)

    def note(self, text: str) -> None:
        """Sends a line for the user."""
        self.send(Note(text))

    def warn(self, text: str) -> None:
        """Sends a warning for the user."""
        self.send(Note(text, is_warning=True))

    def receive(self) -> None:
        """Takes messages until the pipe ends, and this process with it."""
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(message, Stop):
                self.is_stopped = True
            elif message is None or isinstance(message, Job):
                self.is_stopped = False
                self.jobs.put(message)
            else:
                self.answers.put(message)


class _SharedQueue(Feed[Any]):
    """The recordings that the parent gives."""

    def __init__(self, parent: _Parent) -> None:
        self._parent = parent
        self._is_over = False
        self.may_ask = True
        """False after there was none, until a recording has ended."""
        self.indexes: list[int] = []
        """Index of each recording in the parent's input."""

    @property
    def is_over(self) -> bool:
        """True once the parent has none left, for now."""
        return self._is_over

    def take(self) -> Any | None:  # noqa: ANN401  (any source of audio)
        """Asks the parent for a recording."""
        if self._is_over or not self.may_ask:
            return None
        self._parent.send(Want())
        answer = self._parent.answers.get()
        if isinstance(answer, Given):
            self.indexes.append(answer.index)
            return answer.source
        self.may_ask = False
        self._is_over = isinstance(answer, Over)
        return None


def run(connection: "Connection[Any, Any]") -> None:
    """Loads the model, and does one job after the other."""
    load: Load = connection.recv()
    parent = _Parent(connection)
    Thread(target=parent.receive, name="parent", daemon=True).start()
    try:
        model = load(parent.note)
    except MaxWhisperError as error:
        parent.send(Refused(str(error)))
        return
    implementation = model.implementation
    facts = Facts(
        implementation.name,
        implementation.device,
        implementation.dtype,
        implementation.dims,
        implementation.default_rows,
    )
    parent.send(Ready(facts, model.name, model.hint, model.notes))
    while (job := parent.jobs.get()) is not None:
        _do(model, job, parent)
        parent.send(Idle())
    os._exit(0)  # all is done; freeing what the system frees would keep the parent waiting


def _do(model: "Model", job: Job, parent: _Parent) -> None:
    """Transcribes until the parent has no more recordings."""
    feed = _SharedQueue(parent)

    def show(index: int, segment: Segment) -> None:
        parent.send(Segments(feed.indexes[index], segment))

    def advance(index: int, progress: Progress) -> None:
        parent.send(Advanced(feed.indexes[index], progress))

    running = model.transcribe_several(
        feed,
        job.options,
        on_progress=advance,
        on_segment=show if job.wants_segments else None,
        on_warning=parent.warn,
        keep_going=lambda: not parent.is_stopped,
        **job.reading,
    )
    for finished in running:
        parent.send(_ended(feed.indexes[finished.index], finished))
        feed.may_ask = True


def _ended(index: int, finished: "Finished") -> Ended:
    from implementations.errors import ImplementationFailedError, NonFiniteLogitsError

    error = finished.error
    is_of_model = isinstance(error, NonFiniteLogitsError)
    return Ended(
        index,
        finished.wall_seconds,
        finished.transcript,
        None if error is None else str(error),
        isinstance(error, ImplementationFailedError) and not is_of_model,
    )


def main() -> None:
    """Runs with the pipe whose descriptor is the argument."""
    run(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
