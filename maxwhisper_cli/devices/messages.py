"""Messages between the process of the command line and those of devices.

Both are this program; nobody else has the pipe, and what comes through it is trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from weights.dims import ModelDimensions

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.model import Model

OnNote = Callable[[str], None]
Load = Callable[[OnNote], "Model"]
"""Loads the model of a device; called in its process, with what takes notes for the user."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The implementation of a process."""

    name: str
    device: str
    dtype: str
    dims: ModelDimensions
    default_rows: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A process has loaded its model."""

    facts: Facts
    model: str | None
    """Name of the model; None if the weights are those of no named model."""
    hint: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A process cannot load its model."""

    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the user."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A request to begin with recordings, and what holds for all of them."""

    options: TranscribeOptions
    reading: "ReadingOptions"
    wants_segments: bool


@dataclass(frozen=True, slots=True)
class Want:
    """A process can take another recording."""


@dataclass(frozen=True, slots=True)
class Given:
    """A recording, in answer to `Want`."""

    index: int
    source: Any


@dataclass(frozen=True, slots=True)
class Later:
    """There is none now, in answer to `Want`: ask again once one has ended."""


@dataclass(frozen=True, slots=True)
class Over:
    """There is none left, in answer to `Want`."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A request to open no more recordings; those under way come to their end."""


@dataclass(frozen=True, slots=True)
class Segments:
    """A segment of a recording, as it is decoded."""

    index: int
    segment: Segment


@dataclass(frozen=True, slots=True)
class Advanced:
    """Progress of a recording."""

    index: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Ended:
    """A recording is done, or has failed."""

    index: int
    wall_seconds: float
    transcript: Transcript | None
    error: str | None
    is_of_device: bool = False
    """True if it may not fail on another device."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A job is over."""
