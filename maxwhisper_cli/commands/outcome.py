"""What became of each file, and how it is said: in a line, and in the table at the end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maxwhisper_cli.activity import clock, headline
from maxwhisper_cli.console import Column
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.writers.base import Writer
from maxwhisper_cli.writers.files import Outputs
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from implementations.implementation import Implementation

COLUMNS = (
    Column("file"),
    Column("audio", is_number=True),
    Column("took", is_number=True),
    Column("speed", is_number=True),
    Column("language"),
    Column("status"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    name: str
    """Of the file, as it is shown."""
    wall_seconds: float
    """From its opening to its end; files beside it in a batch share that time."""
    transcript: Transcript | None = None
    heard_seconds: float = 0.0
    """Seconds of audio that were transcribed: all, or the clips asked for."""
    error: MaxWhisperError | None = None
    """Why there is no transcript, or why it is not where it belongs."""

    @property
    def speed(self) -> float:
        """Seconds of audio per second of time."""
        return self.heard_seconds / max(self.wall_seconds, 1e-9)


def said_of(outcome: Outcome, ran_on: "Implementation", sink: Outputs | Writer) -> str:
    """Returns the line for a file that is done."""
    assert outcome.transcript is not None
    said = (
        f"{outcome.name}: {_language_name(outcome.transcript.language)}, "
        f"{clock(outcome.heard_seconds)} of audio in {outcome.wall_seconds:.1f} s "
        f"({outcome.speed:.1f}x) on {ran_on.name} ({ran_on.device}, {ran_on.dtype})"
    )
    if isinstance(sink, Writer):
        return said
    first, *others = sink.paths
    return ", ".join([f"{said}; wrote {first}", *(path.suffix for path in others)])


def row(outcome: Outcome) -> tuple[str, ...]:
    """Returns a file's row of the table."""
    name, took = outcome.name, f"{outcome.wall_seconds:.1f} s"
    if outcome.transcript is None or outcome.error is not None:
        said = headline(str(outcome.error))
        return name, "", took, "", "", f"failed: {said.partition(f'{name} ')[2] or said}"
    language = _language_name(outcome.transcript.language)
    return name, clock(outcome.heard_seconds), took, f"{outcome.speed:.1f}x", language, "ok"


def _language_name(code: str) -> str:
    from maxwhisper_cli.transcription.languages import language_names

    return language_names().get(code, code).title()
