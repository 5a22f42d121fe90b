"""Many live streams that share a model: one thread decodes all that are due, side by side.

Others put audio in at any time; what it changes comes back through a callback in that thread.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Thread
from typing import Final, TypeAlias

import numpy as np

from implementations.implementation import Implementation
from implementations.memory import translate_out_of_memory
from implementations.processor_threads import available_threads
from maxwhisper_cli.audio.stream import Float32
from maxwhisper_cli.listen.drive import run_together
from maxwhisper_cli.listen.events import Event
from maxwhisper_cli.listen.transcriber import LiveTranscriber, add_to_streams
from weights.closing import Closing

OnEvents: TypeAlias = Callable[[list[Event] | Exception], None]
"""Callback with events in order, or with the error that has ended a stream."""
_Input: TypeAlias = Float32 | Callable[[], None]


_STREAMS_A_THREAD: Final = 16
"""Streams whose voice activity one thread computes together."""
_MAX_THREADS: Final = min(8, available_threads())


class LiveStream:
    """One stream; its methods return at once."""

    def __init__(self, live: LiveTranscriber, on_events: OnEvents, changed: Condition) -> None:
        self.live = live
        self.on_events = on_events
        self.is_closed = False
        self._inputs: deque[_Input] = deque()
        self._changed = changed

    @property
    def n_waiting(self) -> int:
        """Samples that were put in and that nobody has looked at."""
        with self._changed:
            return sum(0 if callable(each) else len(each) for each in self._inputs)

    @property
    def is_due(self) -> bool:
        """True if there is something to do."""
        return not self.is_closed and (bool(self._inputs) or self.live.is_due)

    def put(self, block: Float32) -> None:
        """Adds mono samples at 16 kHz."""
        self._put(block)

    def end_utterance(self) -> None:
        """Lets the utterance end behind the audio that was put in."""
        self._put(self.live.end_utterance)

    def drop_utterance(self) -> None:
        """Drops the audio that was put in and is not final."""
        self._put(self.live.drop_utterance)

    def close(self) -> None:
        """Ends the stream; no callback comes after the one that may run now."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def take_audio(self) -> Float32:
        """Returns the audio that was put in, up to an end or a drop, which is decoded first."""
        blocks: list[Float32] = []
        with self._changed:
            while self._inputs and not callable(self._inputs[0]):
                item = self._inputs.popleft()
                assert not callable(item)
                blocks.append(item)
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)

    def take_end(self) -> None:
        """Ends or drops the utterance, if that was asked for behind the audio."""
        with self._changed:
            item = self._inputs.popleft() if self._inputs and callable(self._inputs[0]) else None
        if callable(item):
            item()

    def _put(self, item: _Input) -> None:
        with self._changed:
            self._inputs.append(item)
            self._changed.notify_all()


class LiveStreams(Closing):
    """Streams of one model, and the thread that decodes them; a context manager."""

    def __init__(self, implementation: Implementation) -> None:
        """Starts the thread."""
        self._implementation = implementation
        self._changed = Condition()
        self._streams: list[LiveStream] = []
        self._is_over = False
        self._pool = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="live streams")
        self._thread = Thread(target=self._run, name="live streams", daemon=True)
        self._thread.start()

    def open(self, live: LiveTranscriber, on_events: OnEvents) -> LiveStream:
        """Returns a new stream; `on_events` is called in another thread."""
        stream = LiveStream(live, on_events, self._changed)
        with self._changed:
            self._streams.append(stream)
        return stream

    def close(self) -> None:
        """Ends all streams, after the update that runs."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        while (due := self._wait()) is not None:
            self._take_inputs(due)
            self._decode([stream for stream in due if stream.live.is_due])

    def _take_inputs(self, due: Sequence[LiveStream]) -> None:
        """Gives the audio to the transcribers; voice activity is computed by several threads."""
        groups = [due[i : i + _STREAMS_A_THREAD] for i in range(0, len(due), _STREAMS_A_THREAD)]
        if len(groups) == 1:
            _take(groups[0])
        else:
            list(self._pool.map(_take, groups))
        for stream in due:
            stream.take_end()

    def _wait(self) -> list[LiveStream] | None:
        """Returns the streams with something to do; None at the end."""
        with self._changed:
            while True:
                if self._is_over:
                    return None
                self._streams = [stream for stream in self._streams if not stream.is_closed]
                if due := [stream for stream in self._streams if stream.is_due]:
                    return due
                self._changed.wait()

    def _decode(self, due: list[LiveStream]) -> None:
        if not due:
            return
        try:
            with translate_out_of_memory(self._implementation.device):
                found = run_together(self._implementation, [each.live.steps() for each in due])
        except Exception as error:  # noqa: BLE001  (it is reported to all whose update it was)
            for stream in due:
                stream.close()
                stream.on_events(error)
            return
        for stream, events in zip(due, found, strict=True):
            if events and not stream.is_closed:
                stream.on_events(events)


def _take(streams: Sequence[LiveStream]) -> None:
    """Gives the audio of streams to their transcribers."""
    add_to_streams([each.live for each in streams], [each.take_audio() for each in streams])
