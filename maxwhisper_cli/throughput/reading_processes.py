"""Files that other processes read while this one still loads the model.

Comes in: paths of recordings, in order. Goes out: for each, an audio whose samples come from the
process that reads it. Imports and threads that decode wait for the same lock of the interpreter,
so that these are processes. What one of them cannot read, or does not read to its end, is read
here when its turn comes, with the error that belongs to it. Nothing here knows a model.

| bound | number |
| --- | --- |
| samples that wait, of recordings whose turn has not come | `BYTES_PER_PROCESS` for each process |
| samples that wait, of one whose turn has come | the same |
| recordings, the first | `MAX_FILES` of `reading_start.py` |
| processes | `MAX_PROCESSES` of `reading_start.py` |
"""

import json
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import RawIOBase
from threading import Condition, Thread
from typing import Final

import numpy as np
import numpy.typing as npt

from maxwhisper_cli.audio.reader import Audio, ReadingOptions, open_audio
from maxwhisper_cli.audio.spans import without_first
from maxwhisper_cli.audio.stream import Float32
from maxwhisper_cli.throughput.reading_process import HEADER, Facts, Kind
from maxwhisper_cli.throughput.reading_start import Started
from weights.closing import Closing

BYTES_PER_PROCESS: Final = 32 * 2**20
"""Bytes of samples that wait: eight minutes."""
_END_SECONDS: Final = 5.0
_PIPE_BYTES: Final = 2**20


@dataclass(slots=True, eq=False)
class _Place:
    """A recording, and its blocks that nobody has taken yet."""

    path: str
    facts: Facts | None = None
    warnings: list[str] = field(default_factory=list)
    blocks: deque[Float32] = field(default_factory=deque)
    n_bytes: int = 0
    """Bytes of the blocks."""
    is_taken: bool = False
    """True once its turn has come."""
    is_dropped: bool = False
    """True once the rest is not wanted."""
    is_done: bool = False
    """True once nothing more comes."""
    has_failed: bool = False


class ReadingProcesses(Closing):
    """Processes that read the first files of a run; a context manager that ends them."""

    def __init__(self, started: Sequence[Started], reading: ReadingOptions) -> None:
        """Takes what the processes read, in threads.

        Args:
            started: The processes, by `start_reading`.
            reading: Keywords of `open_audio`, which they use too.
        """
        self._reading = reading
        self._is_split = reading.get("channel") == "split"
        self._changed = Condition()
        self._is_over = False
        self._n_bytes = 0
        """Bytes that wait, of recordings whose turn has not come."""
        self._max_bytes = len(started) * BYTES_PER_PROCESS
        self._places: dict[str, _Place] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[Thread] = []
        for each in started:
            places = [_Place(path) for path in each.paths]
            self._places |= {place.path: place for place in places}
            if each.process is None:
                self._fail(places)
                continue
            thread = Thread(target=self._receive, args=(each.process, places), daemon=True)
            self._processes.append(each.process)
            self._threads.append(thread)
            thread.start()

    def opener(self, path: str) -> Callable[[], AbstractContextManager[Audio | str]] | None:
        """Returns what gives the audio of a file, once; None if no process reads it.

        It gives the path if the process could not open the file. Files are to be opened in order.
        """
        place = self._places.pop(path, None)
        return None if place is None else lambda: self._take(place)

    def close(self) -> None:
        """Ends the processes."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        for process in self._processes:
            process.kill()
        for process, thread in zip(self._processes, self._threads, strict=True):
            process.wait()
            thread.join(_END_SECONDS)
            if process.stdout is not None:
                process.stdout.close()
        self._processes, self._threads = [], []
        self._places.clear()

    @contextmanager
    def _take(self, place: _Place) -> Iterator[Audio | str]:
        with self._changed:
            place.is_taken = True
            self._n_bytes -= place.n_bytes
            self._changed.notify_all()
            self._changed.wait_for(lambda: place.facts or place.is_done)
        if place.facts is None:
            yield place.path
            return
        with ExitStack() as resources:
            resources.callback(self._drop, place)
            blocks = self._blocks(place, resources)
            yield _ReadAudio(place.facts, place.warnings, blocks, is_split=self._is_split)

    def _drop(self, place: _Place) -> None:
        """Drops what nobody has taken of a recording, and what is still to come."""
        with self._changed:
            place.is_dropped = True
            place.blocks.clear()
            place.n_bytes = 0
            self._changed.notify_all()

    def _blocks(self, place: _Place, resources: ExitStack) -> Iterator[Float32]:
        """Yields the blocks of a recording as they come; the rest from its file after a failure."""
        n_read = 0
        while (block := self._next_block(place)) is not None:
            n_read += len(block)
            yield block
        if place.has_failed:
            audio = resources.enter_context(open_audio(place.path, **self._reading))
            yield from without_first(iter(audio), n_read)
            place.warnings[:] = audio.warnings

    def _next_block(self, place: _Place) -> Float32 | None:
        with self._changed:
            self._changed.wait_for(lambda: place.blocks or place.is_done)
            if not place.blocks:
                return None
            block = place.blocks.popleft()
            place.n_bytes -= block.nbytes
            self._changed.notify_all()
            return block

    def _receive(self, process: "subprocess.Popen[bytes]", places: Sequence[_Place]) -> None:
        """Takes what a process has read of its files, in a thread."""
        stream = process.stdout
        assert isinstance(stream, RawIOBase), "its output has no buffer"
        _enlarge(stream)
        waiting = deque(places)
        try:
            with suppress(EOFError, OSError, ValueError):  # it has ended, or was ended
                while waiting and self._receive_message(stream, waiting[0]):
                    if waiting[0].is_done:
                        waiting.popleft()
        finally:
            self._fail(waiting)

    def _receive_message(self, stream: RawIOBase, place: _Place) -> bool:
        """Takes a message; returns False once nothing more is wanted."""
        kind, n_bytes = HEADER.unpack(bytes(_exactly(stream, HEADER.size)))
        if kind == Kind.SAMPLES:
            return self._keep(place, _exactly(stream, n_bytes).view(np.float32))
        content = bytes(_exactly(stream, n_bytes))
        with self._changed:
            if kind == Kind.FACTS:
                place.facts = Facts(**json.loads(content))
            elif kind == Kind.END:
                place.warnings[:] = json.loads(content)
            place.is_done = kind in {Kind.END, Kind.FAILED}
            place.has_failed = kind == Kind.FAILED
            self._changed.notify_all()
            return not self._is_over

    def _keep(self, place: _Place, block: Float32) -> bool:
        """Keeps a block once there is memory for it."""
        assert place.facts is not None
        if self._is_split:
            block = block.reshape(-1, place.facts.n_channels)

        def fits() -> bool:
            if self._is_over or place.is_dropped:
                return True
            if place.is_taken:
                return not place.blocks or place.n_bytes + block.nbytes <= BYTES_PER_PROCESS
            return self._n_bytes + block.nbytes <= self._max_bytes

        with self._changed:
            self._changed.wait_for(fits)
            if not place.is_dropped:
                place.blocks.append(block)
                place.n_bytes += block.nbytes
                self._n_bytes += 0 if place.is_taken else block.nbytes
            self._changed.notify_all()
            return not self._is_over

    def _fail(self, places: Sequence[_Place] | deque[_Place]) -> None:
        with self._changed:
            for place in places:
                place.has_failed = place.is_done = True
            self._changed.notify_all()


class _ReadAudio(Audio):
    """Audio whose blocks another process reads."""

    def __init__(
        self, facts: Facts, warnings: list[str], blocks: Iterator[Float32], *, is_split: bool
    ) -> None:
        self.name, self.seconds = facts.name, facts.seconds
        self.sample_rate, self.n_channels = facts.sample_rate, facts.n_channels
        self.warnings = warnings
        self._shape = (facts.n_channels,) if is_split else ()
        self._blocks = blocks

    def __iter__(self) -> Iterator[Float32]:
        return self._blocks

    def close(self) -> None:
        """Does nothing: its reader closes all."""


def _exactly(stream: RawIOBase, n_bytes: int) -> npt.NDArray[np.uint8]:
    """Returns so many bytes.

    Raises:
        EOFError: The stream ends before.
    """
    content = np.empty(n_bytes, np.uint8)
    rest = content.data
    while len(rest) > 0:
        n_read = stream.readinto(rest)
        if not n_read:
            raise EOFError
        rest = rest[n_read:]
    return content


def _enlarge(stream: RawIOBase) -> None:
    """Lets a pipe hold more; without it the process waits more often."""
    with suppress(OSError, ImportError, AttributeError):
        import fcntl

        fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
