"""A session of live transcription: audio in, text on the terminal and into files, until it ends.

The source ends, fails, stalls, or Ctrl-C comes: in each case all that was said until then is
decoded, shown and written first.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maxwhisper_cli.commands.interrupting import Stopping, finishing_on_interrupt
from maxwhisper_cli.commands.live_display import LiveView
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.segments import Segment, Transcript
from maxwhisper_cli.writers.base import Document
from maxwhisper_cli.writers.files import Outputs
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.listen.events import Event
    from maxwhisper_cli.listen.lines import LineBuilder
    from maxwhisper_cli.listen.source import LiveSource
    from maxwhisper_cli.listen.transcriber import LiveTranscriber

_WAIT_SECONDS: Final = 0.1
_SILENT_SECONDS: Final = 1.0
"""Time without audio after which an utterance counts as ended."""
_STALLED_SECONDS: Final = 10.0
"""Time without audio after which a warning says so."""
_BEHIND_SECONDS: Final = 6.0
_SAMPLES_PER_SECOND: Final = 16000
_LONGEST_BLOCK: Final = 20 * _SAMPLES_PER_SECOND


@dataclass(slots=True)
class LiveSession:
    """One stream, from its source to its view and files."""

    source: "LiveSource"
    live: "LiveTranscriber"
    lines: "LineBuilder"
    view: LiveView
    terminal: Terminal
    outputs: Outputs | None
    """Files to write; None for none."""
    document: Callable[[Transcript], Document]
    """Returns the transcript with the model's facts."""
    clock: Callable[[], float] = time.monotonic
    _last_audio: float = field(default=0.0, init=False)
    _is_ended_by_stall: bool = field(default=False, init=False)
    _warned: set[str] = field(default_factory=set, init=False)

    def run(self) -> None:
        """Goes on until the source ends or Ctrl-C comes.

        Raises:
            MaxWhisperError: The source or an output failed; what was said is written.
        """
        failure: MaxWhisperError | None = None
        self._last_audio = self.clock()
        stopping = Stopping()
        with finishing_on_interrupt(stopping), self.view:
            try:
                while stopping.keep_going() and self._step():
                    pass
            except MaxWhisperError as error:
                failure = error
            self._show(self.live.finish())
            self._show_segments([], self.lines.end())
        self._write()
        if failure is not None:
            raise failure

    def _step(self) -> bool:
        """Takes the audio that has come; returns False at the end."""
        block = self.source.read(_WAIT_SECONDS)
        if block is None:
            return False
        now = self.clock()
        if len(block) == 0:
            self._wait(now - self._last_audio)
            return True
        self._last_audio, self._is_ended_by_stall = now, False
        for first in range(0, len(block), _LONGEST_BLOCK):
            self._show(self.live.feed(block[first : first + _LONGEST_BLOCK]))
        seconds = self.clock() - now
        is_slow = seconds > max(_BEHIND_SECONDS, len(block) / _SAMPLES_PER_SECOND)
        if is_slow and self.source.is_live:
            self._warn("this model is too slow for live text here: choose a smaller one")
        return True

    def _wait(self, seconds: float) -> None:
        """Acts on a source that has given nothing for some time."""
        if seconds >= _SILENT_SECONDS and not self._is_ended_by_stall:
            self._is_ended_by_stall = True
            self._show(self.live.finish())
        if seconds >= _STALLED_SECONDS:
            name = self.source.name
            self._warn(f"no sound has come from {name} for {_STALLED_SECONDS:.0f} s; waiting")

    def _show(self, events: "Sequence[Event]") -> None:
        if not events:
            return
        completed = [segment for event in events for segment in self.lines.take(event)]
        self._show_segments(events, completed)
        if completed:
            self._write()

    def _show_segments(self, events: "Sequence[Event]", completed: Sequence[Segment]) -> None:
        self.view.show(events, completed, self.lines.begun)

    def _write(self) -> None:
        """Writes the files anew, with all segments so far."""
        if self.outputs is None:
            return
        segments = tuple(self.lines.segments)
        transcript = Transcript(
            text="".join(segment.text for segment in segments),
            segments=segments,
            language=self.live.language or "en",
            language_probability=None,
            duration_seconds=self.live.seconds,
        )
        self.outputs.write(self.document(transcript))

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            self.terminal.warning(message)
