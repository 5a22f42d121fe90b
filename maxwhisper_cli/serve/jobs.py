"""A recording that a client waits for: what the engine is given, and the events that it sends back.

The engine's threads put events; one coroutine reads them. Whoever made a job cancels it when nobody
waits any longer.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TypeAlias

from maxwhisper_cli.audio.reader import AudioError
from maxwhisper_cli.serve.audio_request import AudioRequest
from maxwhisper_cli.serve.spool import Upload
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.steps import DecodedPart
from maxwhisper_cli.transcription.tokenizer import Tokenizer

_BYTES_PER_SECOND = 4 * 16000

Event: TypeAlias = DecodedPart | Transcript | Exception
"""Segments of a window; the transcript or an error at the end."""


class CancelledJobError(Exception):
    """Nobody waits for this recording any longer."""


class TooLongError(AudioError):
    """A recording is longer than the server allows."""


@dataclass(eq=False)
class Job:
    """A recording to transcribe."""

    request: AudioRequest
    upload: Upload
    max_seconds: float
    """Longest recording; what is longer is refused as it is read."""
    model: str = ""
    """Name of the model."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    submitted_at: float = field(default_factory=time.monotonic)
    begun_at: float | None = None
    """Time at which its decoding began."""
    text_at: float | None = None
    """Time of its first text."""
    tokenizer: Tokenizer | None = None
    """Spells tokens, where their log-probabilities are wanted."""
    is_cancelled: bool = False
    seconds_read: float = 0.0
    """Seconds of audio so far, of all channels if these are split."""
    _events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    @property
    def due(self) -> float:
        """Time by which the job is ordered: larger uploads come later, but never last for ever."""
        return self.submitted_at + self.upload.n_bytes / 2e6

    def put(self, event: Event) -> None:
        """Sends an event to the client's coroutine, from any thread."""
        if self.is_cancelled:
            return
        if self.text_at is None and isinstance(event, DecodedPart) and event.segments:
            self.text_at = time.monotonic()
        try:
            self.loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the server has ended
            self.is_cancelled = True

    def cancel(self) -> None:
        """Says that nobody waits any longer; the engine forgets the job as soon as it can."""
        self.is_cancelled = True

    def admit(self, n_bytes: int) -> None:
        """Takes note of samples that were read.

        Raises:
            CancelledJobError: Nobody waits for them.
            TooLongError: There are too many.
        """
        if self.is_cancelled:
            raise CancelledJobError
        self.seconds_read += n_bytes / _BYTES_PER_SECOND
        if self.seconds_read > self.max_seconds:
            raise TooLongError(
                f"the recording is longer than {self.max_seconds:g} s, the limit of this server"
            )

    async def events(self) -> AsyncGenerator[DecodedPart | Transcript, None]:
        """Yields parts, and the transcript at the end; cancels the job if it is left before.

        Raises:
            Exception: The error that ended the job.
        """
        try:
            while True:
                event = await self._events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Transcript):
                    return
        finally:
            self.cancel()
