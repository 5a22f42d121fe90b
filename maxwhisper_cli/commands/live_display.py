"""Display of live text: one line that is redrawn on a terminal, plain or JSON lines in a pipe."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.text import Text

from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.segments import Segment
from maxwhisper_cli.writers.times import format_timestamp
from weights.printable import printable

if TYPE_CHECKING:
    from maxwhisper_cli.listen.events import Event


class LiveView(Protocol):
    """View of one stream; a context manager."""

    def show(self, events: "Sequence[Event]", completed: Sequence[Segment], begun: str) -> None:
        """Shows new text.

        Args:
            events: Events in order.
            completed: Segments that they complete.
            begun: Final text behind those.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class JsonView:
    """One JSON object a line for each partial and final text, with the time it came."""

    def __init__(self, terminal: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins the clock; `emitted_at` counts from here."""
        self._terminal = terminal
        self._clock = clock
        self._began = clock()

    def show(self, events: "Sequence[Event]", completed: Sequence[Segment], begun: str) -> None:
        """Prints the events that have text, or withdraw it."""
        from maxwhisper_cli.listen.events import FinalWords, Partial

        del completed, begun
        for event in events:
            if isinstance(event, FinalWords | Partial):
                fields = {
                    "start": event.start,
                    "end": event.end,
                    "text": event.text,
                    "is_final": isinstance(event, FinalWords),
                    "emitted_at": round(self._clock() - self._began, 3),
                }
                self._terminal.record(json.dumps(fields, ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class TextView:
    """Segments as lines; on a terminal the line below them has the words so far."""

    def __init__(self, terminal: Terminal) -> None:
        """Draws nothing yet."""
        self._terminal = terminal
        self._partial = ""
        self._line = Text()
        self._live: AbstractContextManager[object] = nullcontext()

    def show(self, events: "Sequence[Event]", completed: Sequence[Segment], begun: str) -> None:
        """Prints segments that are complete, and redraws the line below."""
        from maxwhisper_cli.listen.events import Partial

        for event in events:
            self._partial = event.text if isinstance(event, Partial) else ""
        for segment in completed:
            times = f"{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}"
            self._terminal.timed_line(times, segment.text.strip())
        self._draw(begun)

    def _draw(self, begun: str) -> None:
        if not self._terminal.is_interactive:
            return
        partial = self._partial if begun else self._partial.lstrip()
        line = Text.assemble((printable(begun), "bold"), (printable(partial), "bright_black"))
        self._live.update(line, refresh=True)  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        if self._terminal.is_interactive:
            self._live = self._terminal.live_results()
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)


class NoView:
    """Nothing is shown."""

    def show(self, events: "Sequence[Event]", completed: Sequence[Segment], begun: str) -> None:
        """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None
