"""Transcribe files one after the other: show what comes, write it, sum up.

One file's failure does not stop the others. The options' meaning and the output names are settled
before this begins.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from maxwhisper_cli.activity import Activity, Pace, clock, headline
from maxwhisper_cli.commands.loading import Loading, load_model
from maxwhisper_cli.console import Column, Terminal
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.files import STDIN, Outputs
from maxwhisper_cli.writers.times import format_timestamp
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from implementations.base import Implementation
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.transcription.audio import Channel

_COLUMNS = (
    Column("file"),
    Column("audio", is_number=True),
    Column("took", is_number=True),
    Column("speed", is_number=True),
    Column("language"),
    Column("status"),
)


@dataclass(frozen=True, slots=True)
class Display:
    """What is shown while files are transcribed."""

    terminal: Terminal
    shows_segments: bool
    shows_bar_when_piped: bool

    def segment(self, segment: Segment) -> None:
        """Show a segment, if segments are shown and it says something."""
        if self.shows_segments and segment.text:
            times = f"{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}"
            self.terminal.timed_line(times, segment.text.strip())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    name: str
    """Of the file, as it is shown."""
    wall_seconds: float
    transcript: Transcript | None = None
    heard_seconds: float = 0.0
    """Seconds of audio that were transcribed: all, or the clips asked for."""
    error: MaxWhisperError | None = None

    @property
    def speed(self) -> float:
        """Seconds of audio per second of time."""
        return self.heard_seconds / max(self.wall_seconds, 1e-9)


def require_sources(sources: list[str]) -> None:
    """See that there is something to transcribe, before a model is loaded for it.

    Raises:
        MaxWhisperError: none of the files exists, or standard input is a keyboard.
    """
    if STDIN in sources and sys.stdin.isatty():
        raise MaxWhisperError("- is standard input: pipe a recording into it")
    if any(source == STDIN or Path(source).exists() for source in sources):
        return
    if "://" in sources[0]:
        raise MaxWhisperError(f"{sources[0]} is an address: fetch it first, and name the file")
    if len(sources) == 1:
        raise MaxWhisperError(f"{sources[0]} does not exist: check its name and folder")
    raise MaxWhisperError(f"none of the {len(sources)} files exists: check their names and folder")


def transcribe_files(
    sinks: Sequence[tuple[str, Outputs | Writer]],
    loading: Loading,
    options: TranscribeOptions,
    channel: "Channel",
    display: Display,
) -> None:
    """Load the model, transcribe each file into its sink, and sum up.

    Args:
        sinks: Each file (`-` is standard input) with the files to write, or with the one format
            to print on stdout.
        loading: Which model, and what runs it.
        options: How to transcribe.
        channel: Which channel to hear.
        display: What is shown meanwhile.

    Raises:
        MaxWhisperError: the model cannot be loaded, or a file could not be transcribed.
    """
    with load_model(loading, display.terminal) as model:
        fitting = _fit_to_model(options, model, display.terminal)
        work = _Work(model, loading, fitting, channel, display)
        names = _short_names([source for source, _ in sinks])
        outcomes = []
        for source, sink in sinks:
            outcome = work.transcribe(source, names[source], sink)
            outcomes.append(outcome)
            if outcome.error is not None and len(sinks) > 1:
                display.terminal.error(str(outcome.error))
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(outcomes) > 1 and not display.terminal.is_quiet:
        display.terminal.summary(_COLUMNS, map(_row, outcomes))
    if errors:
        only = errors[0] if len(outcomes) == 1 else None
        raise only or MaxWhisperError(f"{len(errors)} of {len(outcomes)} files failed")


@dataclass(frozen=True, slots=True)
class _Work:
    """What all files have in common."""

    model: "Model"
    loading: Loading
    options: TranscribeOptions
    channel: "Channel"
    display: Display

    def transcribe(self, source: str, name: str, sink: Outputs | Writer) -> Outcome:
        terminal = self.display.terminal
        pace = Pace()
        try:
            with terminal.activity(
                is_wanted_when_piped=self.display.shows_bar_when_piped
            ) as activity:
                activity.show(name)
                transcript = self.model.transcribe(
                    source,
                    self.options,
                    channel=self.channel,
                    on_segment=self.display.segment,
                    on_progress=lambda progress: self._advance(activity, name, pace, progress),
                )
            outcome = Outcome(
                name, pace.seconds, transcript, self._heard(transcript.duration_seconds)
            )
            for warning in transcript.warnings:
                terminal.warning(warning)
            if outcome.heard_seconds == 0 < transcript.duration_seconds:
                ends = clock(transcript.duration_seconds)
                terminal.warning(f"{name} ends at {ends}, before the clips that were asked for")
            with self.loading.stopwatch.on("writing"):
                self._deliver(transcript, sink)
        except MaxWhisperError as error:
            return Outcome(name, pace.seconds, error=error)
        terminal.note(_said_of(outcome, self.model.implementation, sink))
        return outcome

    def _advance(self, activity: Activity, name: str, pace: Pace, progress: Progress) -> None:
        done = self._heard(progress.done_seconds)
        total = self._heard(progress.total_seconds)
        detail = f"{progress.language}  {pace.detail(done, total)}"
        activity.show(name, done, total, detail)

    def _heard(self, until_seconds: float) -> float:
        """Seconds within the clips asked for, up to a point of the recording."""
        points = [min(at, until_seconds) for at in self.options.clip_timestamps or (0.0,)]
        if len(points) % 2:
            points.append(until_seconds)
        return sum(end - start for start, end in zip(points[::2], points[1::2], strict=True))

    def _deliver(self, transcript: Transcript, sink: Outputs | Writer) -> None:
        implementation = self.model.implementation
        document = Document(
            transcript=transcript,
            task=self.options.task,
            model=self.model.name or self.loading.model,
            implementation=implementation.name,
            device=implementation.device,
            dtype=implementation.dtype,
        )
        if isinstance(sink, Writer):
            self.display.terminal.document(sink.render(document))
        else:
            sink.write(document)


def _fit_to_model(
    options: TranscribeOptions, model: "Model", terminal: Terminal
) -> TranscribeOptions:
    """Warn of what the model cannot do, and do what openai-whisper does instead."""
    dims = model.implementation.dims
    if not dims.is_multilingual:
        if options.language not in {None, "en"}:
            terminal.warning(
                f"this model knows only English, not {options.language}; using English"
            )
        if options.task == "translate":
            terminal.warning("this model knows only English and cannot translate; transcribing")
        return replace(options, language="en", task="transcribe")
    is_turbo = (dims.n_audio_layer, dims.n_text_layer) == (32, 4)
    if is_turbo and options.task == "translate":
        terminal.warning(
            "turbo was not trained to translate and may write the language spoken; "
            "medium and large-v2 do better"
        )
    return options


def _said_of(outcome: Outcome, ran_on: "Implementation", sink: Outputs | Writer) -> str:
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


def _row(outcome: Outcome) -> tuple[str, ...]:
    name, took = outcome.name, f"{outcome.wall_seconds:.1f} s"
    if outcome.transcript is None:
        said = headline(str(outcome.error))
        return name, "", took, "", "", f"failed: {said.partition(f'{name} ')[2] or said}"
    language = _language_name(outcome.transcript.language)
    return name, clock(outcome.heard_seconds), took, f"{outcome.speed:.1f}x", language, "ok"


def _short_names(sources: list[str]) -> dict[str, str]:
    """File names without their folders where that tells them apart, else as they were given."""
    names = {source: Path(source).name for source in sources}
    n_named = Counter(names.values())
    short = {source: name if n_named[name] == 1 else source for source, name in names.items()}
    return short | {source: "stdin" for source in sources if source == STDIN}


def _language_name(code: str) -> str:
    from maxwhisper_cli.transcription.languages import language_names

    return language_names().get(code, code).title()
