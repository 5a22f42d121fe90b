"""Recordings played to live transcribers in simulated time.

The clock is that of the audio: samples come in as they would from a microphone. The time that the
model takes is measured, and moves the clock; what comes in meanwhile waits, as it would in real
life. Nothing sleeps, so that a run takes as long as its computing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from implementations.implementation import Implementation
from maxwhisper_cli.listen.drive import run_together
from maxwhisper_cli.listen.events import Event, FinalWords, Partial
from maxwhisper_cli.listen.transcriber import LiveTranscriber
from maxwhisper_cli.transcription.segments import Word

SAMPLE_RATE = 16000
TICK_SECONDS = 0.02
"""Audio that comes in at a time, as sound cards give it."""


@dataclass
class Played:
    """One recording that is being played."""

    live: LiveTranscriber
    samples: npt.NDArray[np.float32]
    delay: float = 0.0
    """Seconds on the clock at which it begins."""
    n_fed: int = 0
    is_finished: bool = False
    events: list[tuple[float, Event]] = field(default_factory=list)
    """Events, with the time since its own beginning at which they came."""

    @property
    def words(self) -> list[tuple[float, Word]]:
        """Final words, with the time at which each came."""
        return [
            (at, word)
            for at, event in self.events
            if isinstance(event, FinalWords)
            for word in event.words
        ]

    @property
    def text(self) -> str:
        """All final text."""
        return "".join(word.word for _, word in self.words)

    @property
    def first_text_seconds(self) -> float | None:
        """Time of the first words, partial or final."""
        with_text = (
            at
            for at, event in self.events
            if isinstance(event, FinalWords) or (isinstance(event, Partial) and event.text)
        )
        return next(with_text, None)

    def feed_until(self, now: float) -> None:
        """Adds the samples that have come in by a time on the clock; ends it behind the last."""
        n_here = min(len(self.samples), max(0, int((now - self.delay) * SAMPLE_RATE)))
        if n_here > self.n_fed:
            self.live.add(self.samples[self.n_fed : n_here])
            self.n_fed = n_here
        if n_here == len(self.samples) and not self.is_finished:
            self.live.end_utterance()
            self.is_finished = True


def play(
    implementation: Implementation,
    streams: Sequence[Played],
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Plays recordings at the same time.

    Args:
        implementation: The model that all share.
        streams: Recordings, each with a transcriber of its own.
        clock: Measures the model's seconds; `time.process_time` counts those of all processors.

    Returns:
        Seconds of each update.
    """
    now = 0.0
    costs: list[float] = []
    while True:
        for stream in streams:
            stream.feed_until(now)
        due = [stream for stream in streams if stream.live.is_due]
        if not due:
            if all(stream.is_finished for stream in streams):
                return costs
            now += TICK_SECONDS
            continue
        began = clock()
        events = run_together(implementation, [stream.live.steps() for stream in due])
        costs.append(clock() - began)
        now += costs[-1]
        for stream, new in zip(due, events, strict=True):
            stream.events += [(now - stream.delay, event) for event in new]
