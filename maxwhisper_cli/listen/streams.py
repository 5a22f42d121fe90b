"""Many live streams that share a model: one thread decodes all that are due, side by side.

Others put audio in at any time; what it changes comes back through a callback in that thread.
"""

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import TypeAlias

from implementations.implementation import Implementation
from implementations.memory import translate_out_of_memory
from maxwhisper_cli.audio.stream import Float32
from maxwhisper_cli.listen.drive import run_together
from maxwhisper_cli.listen.events import Event
from maxwhisper_cli.listen.transcriber import LiveTranscriber
from weights.closing import Closing

OnEvents: TypeAlias = Callable[[list[Event] | Exception], None]
"""Callback with events in order, or with the error that has ended a stream."""
_Input: TypeAlias = Float32 | Callable[[], None]


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

    def take_inputs(self) -> None:
        """Gives the audio to the transcriber; up to an end or a drop, which is decoded first."""
        while True:
            with self._changed:
                if not self._inputs:
                    return
                item = self._inputs.popleft()
            if callable(item):
                item()
                return
            self.live.add(item)

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

    def _run(self) -> None:
        while (due := self._wait()) is not None:
            for stream in due:
                stream.take_inputs()
            self._decode([stream for stream in due if stream.live.is_due])

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
