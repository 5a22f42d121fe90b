"""Processes of several devices, each with the model; used as a `Model` is, over many recordings."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Unpack

from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli.devices.messages import Facts, Idle, Load, Note, OnNote, Ready, Refused
from maxwhisper_cli.devices.worker import Worker, start_worker
from maxwhisper_cli.throughput.several import Finished
from maxwhisper_cli.transcription.options import TranscribeOptions, check_options
from maxwhisper_cli.transcription.segments import Transcript
from weights.closing import Closing
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import AudioSource
    from maxwhisper_cli.devices.pool_run import RunArguments
    from maxwhisper_cli.recording import RecordingRequest


class DevicePool(Closing):
    """Processes of devices, each with its model; a context manager."""

    def __init__(self, loads: Sequence[tuple[str, Load]], on_note: OnNote) -> None:
        """Starts the processes, and waits for the first that has loaded its model.

        Args:
            loads: Each device, and what loads its model in its process.
            on_note: Called with lines for the user, each line once.

        Raises:
            ImplementationUnavailableError: None of them can load its model.
        """
        self._on_note = on_note
        self.on_warning = on_note
        """Called with warnings."""
        self._noted: set[str] = set()
        self._failures: dict[str, str] = {}
        """Line about each device that is lost, the latest last."""
        n_of = Counter(device for device, _ in loads)
        self.workers = [
            start_worker(device if n_of[device] == 1 else f"{device} (process {number})", load)
            for number, (device, load) in enumerate(loads, 1)
        ]
        """Processes that are left."""
        self._devices = [worker.device for worker in self.workers]
        try:
            self._first = self._wait_for_first()
        except BaseException:
            self.close()
            raise

    @property
    def latest_failure(self) -> str:
        """Line about the device that was lost last."""
        return next(reversed(self._failures.values()))

    @property
    def failures(self) -> str:
        """Lines about all devices that are lost, in the order of the devices."""
        lost = self._failures
        return "; ".join(lost[device] for device in self._devices if device in lost)

    @property
    def implementation(self) -> Facts:
        """The implementation of the first device that was ready."""
        return self._first.facts

    @property
    def name(self) -> str | None:
        """Name of the model; None if the weights are those of no named model."""
        return self._first.model

    @property
    def hint(self) -> str | None:
        """Advice on a faster implementation."""
        return self._first.hint

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about loading."""
        return self._first.notes

    def transcribe(
        self,
        audio: "AudioSource | RecordingRequest",
        options: TranscribeOptions,
        **reading: Unpack["RunArguments"],
    ) -> Transcript:
        """Transcribes one recording on any device.

        Raises:
            MaxWhisperError: It cannot be transcribed.
        """
        (finished,) = self.transcribe_several([audio], options, **reading)
        if finished.transcript is None:
            raise finished.error or MaxWhisperError("there is no transcript")
        return finished.transcript

    def transcribe_several(
        self,
        audios: "Sequence[AudioSource | RecordingRequest]",
        options: TranscribeOptions,
        **arguments: Unpack["RunArguments"],
    ) -> Generator[Finished, None, None]:
        """Transcribes recordings as `Model.transcribe_several` does, with the device of each.

        Args:
            audios: Recordings that another process can be given: paths, arrays, requests.
            options: Options of the transcription.
            **arguments: Those of `Model.transcribe_several`.

        Raises:
            ImplementationFailedError: No device is left.
        """
        from maxwhisper_cli.devices.pool_run import PoolRun

        check_options(options)
        yield from PoolRun(self, audios, options, arguments)

    def close(self) -> None:
        """Ends all processes; harmless when repeated."""
        while self.workers:
            self.workers.pop().end()

    def messages(self, timeout: float | None) -> Iterator[tuple[Worker, Any]]:
        """Yields a message of each worker that has sent some; None of one that is gone.

        Args:
            timeout: Seconds to wait for the first; None is forever.
        """
        by_connection: dict[Any, Worker] = {each.connection: each for each in self.workers}
        for connection in wait(list(by_connection), timeout):
            worker = by_connection[connection]
            if worker not in self.workers:  # it was lost meanwhile
                continue
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                message = None
            if message is None:
                self.lose(worker, worker.end_reason())
            yield worker, message

    def lose(self, worker: Worker, reason: str) -> None:
        """Ends a worker that has failed."""
        self.workers.remove(worker)
        worker.kill()
        self._failures[worker.device] = f"{worker.device} failed: {reason}"

    def take_note(self, worker: Worker, message: object) -> None:
        """Takes a message that has nothing to do with a recording."""
        if isinstance(message, Ready):
            worker.ready = message
        elif isinstance(message, Idle):
            worker.is_busy = False
        elif isinstance(message, Note):
            if message.text not in self._noted:
                self._noted.add(message.text)
                (self.on_warning if message.is_warning else self._on_note)(message.text)
        else:
            if isinstance(message, Refused):
                self.lose(worker, message.reason)
            if self.workers:
                self.on_warning(f"{self.latest_failure}; going on without it")

    def _wait_for_first(self) -> Ready:
        while self.workers:
            for worker, message in self.messages(None):
                self.take_note(worker, message)
            for worker in self.workers:
                if worker.ready is not None:
                    return worker.ready
        raise ImplementationUnavailableError(self.failures)
