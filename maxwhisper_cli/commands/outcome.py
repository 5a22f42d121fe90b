"""Outcome of each file, as a summary line and as a row of the final table."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from maxwhisper_cli.activity import clock, headline
from maxwhisper_cli.console import Column
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.files import STDIN, Outputs
from maxwhisper_cli.writers.jsonl import JsonLines
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
    """Outcome of one file."""

    name: str
    """File name in messages."""
    wall_seconds: float
    """Seconds from opening to end; the files of a batch share them."""
    transcript: Transcript | None = None
    transcribed_seconds: float = 0.0
    """Seconds of audio that were transcribed: all, or the chosen clips."""
    error: MaxWhisperError | None = None
    """Error, if there is no transcript or it could not be written."""
    document: Document | None = None
    """Transcript with its captions, as formats write it; None once that is written."""
    captions_report: str | None = None
    """Line about the captions of a style."""

    def without_text(self) -> "Outcome":
        """Returns the outcome without its text, so that those of thousands of files are small."""
        transcript = self.transcript and replace(self.transcript, text="", segments=())
        return replace(self, transcript=transcript, document=None)

    @property
    def speed(self) -> float:
        """Seconds of audio per second of wall time."""
        return self.transcribed_seconds / max(self.wall_seconds, 1e-9)


def summary_line(
    outcome: Outcome, implementation: "Implementation", sink: Outputs | Writer | JsonLines
) -> str:
    """Returns the summary line of a transcribed file."""
    assert outcome.transcript is not None
    summary = (
        f"{outcome.name}: {_language_name(outcome.transcript)}, "
        f"{clock(outcome.transcribed_seconds)} of audio{_of_which(outcome)} "
        f"in {outcome.wall_seconds:.1f} s "
        f"({outcome.speed:.1f}x) on {implementation.name} "
        f"({implementation.device}, {implementation.dtype})"
    )
    if not isinstance(sink, Outputs):
        return summary
    first, *others = sink.paths
    return ", ".join([f"{summary}; wrote {first}", *(path.suffix for path in others)])


def row(outcome: Outcome) -> tuple[str, ...]:
    """Returns a file's row of the table."""
    name, took = outcome.name, f"{outcome.wall_seconds:.1f} s"
    if outcome.transcript is None or outcome.error is not None:
        reason = headline(str(outcome.error))
        return name, "", took, "", "", f"failed: {reason.partition(f'{name} ')[2] or reason}"
    language = _language_name(outcome.transcript)
    return name, clock(outcome.transcribed_seconds), took, f"{outcome.speed:.1f}x", language, "ok"


def short_names(sources: list[str]) -> dict[str, str]:
    """Returns file names without folders where these are unique, else the full paths."""
    names = {source: Path(source).name for source in sources}
    n_named = Counter(names.values())
    short = {source: name if n_named[name] == 1 else source for source, name in names.items()}
    return short | {source: "stdin" for source in sources if source == STDIN}


def _language_name(transcript: Transcript) -> str:
    from maxwhisper_cli.transcription.languages import language_names

    if transcript.speech_seconds == 0:
        return "no speech"
    return language_names().get(transcript.language, transcript.language).title()


def _of_which(outcome: Outcome) -> str:
    """Returns how much of the audio is speech, if that was looked for and is not all of it."""
    seconds = outcome.transcript.speech_seconds if outcome.transcript else None
    if not seconds or clock(seconds) == clock(outcome.transcribed_seconds):
        return ""
    return f" ({clock(seconds)} of speech)"
