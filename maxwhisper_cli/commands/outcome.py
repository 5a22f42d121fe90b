"""Outcome of each file, as a summary line and as a row of the final table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from maxwhisper_cli.activity import clock, headline
from maxwhisper_cli.console import Column
from maxwhisper_cli.inputs.input import STDIN, Input
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.files import Outputs
from maxwhisper_cli.writers.jsonl import JsonLines
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from implementations.implementation import Implementation
    from maxwhisper_cli.devices.messages import Facts
    from maxwhisper_cli.throughput.several import Origin

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
    language_before: str | None = None
    """Language in an earlier run, whose outputs are still there; None if it was not done before."""
    origin: "Origin | None" = None
    """Implementation, where several devices share the work."""

    @property
    def is_done_before(self) -> bool:
        """True if an earlier run has done it."""
        return self.language_before is not None

    def without_text(self) -> "Outcome":
        """Returns the outcome without its text, so that those of thousands of files are small."""
        transcript = self.transcript and replace(self.transcript, text="", segments=())
        return replace(self, transcript=transcript, document=None)

    @property
    def speed(self) -> float:
        """Seconds of audio per second of wall time."""
        return self.transcribed_seconds / max(self.wall_seconds, 1e-9)


def summary_line(
    outcome: Outcome,
    implementation: "Implementation | Facts | Origin",
    sink: Outputs | Writer | JsonLines,
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
    if outcome.is_done_before:
        return name, clock(outcome.transcribed_seconds), "", "", "", "done before"
    if outcome.transcript is None or outcome.error is not None:
        address, _, rest = str(outcome.error).partition(" ")
        reason = headline(rest.lstrip() if ":" in address else str(outcome.error))
        return name, "", took, "", "", f"failed: {reason.partition(f'{name} ')[2] or reason}"
    language = _language_name(outcome.transcript)
    return name, clock(outcome.transcribed_seconds), took, f"{outcome.speed:.1f}x", language, "ok"


def short_names(inputs: Sequence[Input]) -> list[str]:
    """Returns file names without folders where these are unique, else the full paths.

    Excerpts have their start in seconds.
    """
    names = ["stdin" if each.source == STDIN else each.path.name for each in inputs]
    named = Counter({(each.source, name) for each, name in zip(inputs, names, strict=True)})
    n_named = Counter(name for _, name in named)
    short = [
        each.source if n_named[name] > 1 and each.source != STDIN else name
        for each, name in zip(inputs, names, strict=True)
    ]
    return [
        f"{name} from {each.start_seconds:.2f} s" if each.is_excerpt else name
        for each, name in zip(inputs, short, strict=True)
    ]


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
