"""Transcription of the files of a run, one after the other or in one batch, into their sinks."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from maxwhisper_cli.activity import Activity, Pace, clock
from maxwhisper_cli.captions.captions import CaptionOptions, make_captions
from maxwhisper_cli.commands.interrupting import Stopping
from maxwhisper_cli.commands.loading import Loading
from maxwhisper_cli.commands.outcome import Outcome, summary_line
from maxwhisper_cli.commands.overview import Display, OrderedSegments, Overview
from maxwhisper_cli.commands.resuming import Resuming
from maxwhisper_cli.commands.sinks import Stdout
from maxwhisper_cli.inputs.input import STDIN, Input
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.system_errors import SYSTEM_ERRORS, refusal
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.files import Outputs
from maxwhisper_cli.writers.jsonl import JsonLines
from weights.default_model import DEFAULT_MODEL
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.devices.pool import DevicePool
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.recording import Recording, RecordingRequest
    from maxwhisper_cli.throughput.reading_processes import ReadingProcesses
    from maxwhisper_cli.throughput.several import Origin


@dataclass(frozen=True, slots=True)
class File:
    """A file to transcribe."""

    index: int
    """Index in the input."""
    input: Input
    name: str
    """Name in messages."""
    sink: Outputs | Stdout


@dataclass(slots=True)
class Fetching:
    """The live line that shows a download, while the main thread waits for it."""

    activity: Activity | None = None

    def show(self, name: str, n_done: int, n_total: int) -> None:
        """Shows bytes received; nothing in a thread that fetches ahead."""
        if self.activity is not None and threading.current_thread() is threading.main_thread():
            self.activity.show_download(name, n_done, n_total)


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of a run that all its files share."""

    loading: Loading
    options: TranscribeOptions
    reading: "ReadingOptions"
    captions: CaptionOptions
    display: Display
    remote: Remote
    resuming: Resuming | None = None
    """Record of what is done; None where nothing is written to files."""
    fails_fast: bool = False
    summary: Path | None = None
    """File for a line of JSON for each input."""


OnWritten = Callable[[File, Outcome], None]
"""Callback with a file whose outputs are in place."""


@dataclass(frozen=True, slots=True)
class Work:
    """Model, and what its work on all files shares."""

    model: "Model | DevicePool"
    settings: Settings
    options: TranscribeOptions
    """Options of the settings, as they fit the model."""
    stopping: Stopping
    on_written: OnWritten
    processes: "ReadingProcesses"
    """Processes that read the first files."""
    fetching: Fetching | None = field(default_factory=Fetching)
    """None where other processes fetch."""

    def transcribe_in_turn(self, files: Sequence[File]) -> Iterator[tuple[File, Outcome]]:
        """Transcribes files one after the other and writes each; those to come are read ahead."""
        sources = [self._source(file) for file in files]
        model = cast("Model", self.model)
        with model.read_ahead(sources, self.options, **self.settings.reading) as recordings:
            for file, recording in zip(files, recordings, strict=True):
                if not self.stopping.keep_going():
                    return
                yield file, self._transcribe(file, recording)

    def _transcribe(self, file: File, recording: AbstractContextManager["Recording"]) -> Outcome:
        pace = Pace()
        try:
            with self._activity() as activity:
                activity.show(file.name)
                if self.fetching is not None:
                    self.fetching.activity = activity
                transcript = cast("Model", self.model).transcribe_opened(
                    recording,
                    self.options,
                    on_segment=lambda segment: self._show(file, segment),
                    on_progress=lambda progress: self._advance(activity, file.name, pace, progress),
                    on_warning=self.settings.display.terminal.warning,
                )
        except MaxWhisperError as error:
            return self._finish(file, pace.seconds, None, error)
        except BrokenPipeError:  # of stdout, where all results go
            raise
        except SYSTEM_ERRORS as error:
            return self._finish(file, pace.seconds, None, refusal(error, file.name))
        return self._finish(file, pace.seconds, transcript, None)

    def transcribe_together(self, files: Sequence[File]) -> Iterator[tuple[File, Outcome]]:
        """Transcribes files in one batch and writes each as it is done; yields them in order.

        After a stop, files may be missing before others that were under way and ended.
        """
        overview = Overview(len(files))
        activity = Activity()

        def advance(index: int, progress: Progress) -> None:
            done = self._transcribed_seconds(progress.done_seconds)
            total = self._transcribed_seconds(progress.total_seconds)
            overview.progress[index] = done, total
            overview.show(activity)

        outcomes: dict[int, Outcome] = {}
        segments = OrderedSegments(self.settings.display.segment)

        def show(index: int, segment: Segment) -> None:
            segments.add(index, segment.shifted(files[index].input.start_seconds))

        running = self.model.transcribe_several(
            [self._source(file) for file in files],
            self.options,
            on_progress=advance,
            on_segment=show if self.settings.display.shows_segments else None,
            on_warning=self.settings.display.terminal.warning,
            keep_going=self.stopping.keep_going,
            **self.settings.reading,
        )
        with closing(running) as finished:
            for index in range(len(files)):
                with self._activity() as activity:
                    overview.show(activity)
                    segments.go_to(index)
                    while index not in outcomes:
                        if (each := next(finished, None)) is None:  # stopped before this file
                            break
                        overview.finished.add(each.index)
                        ended = each.wall_seconds, each.transcript, each.error, each.origin
                        outcomes[each.index] = self._finish(files[each.index], *ended)
                if index in outcomes:
                    yield files[index], outcomes.pop(index)

    def report(self, outcome: Outcome, sink: Outputs | Stdout, *, is_only: bool) -> None:
        """Prints a transcript's warnings and summary line; itself if stdout is its sink."""
        terminal, transcript = self.settings.display.terminal, outcome.transcript
        if transcript is None:
            return
        for warning in transcript.warnings:
            terminal.warning(warning)
        if outcome.transcribed_seconds == 0 < (end := transcript.duration_seconds):
            terminal.warning(f"{outcome.name} ends at {clock(end)}, before the clips")
        if isinstance(sink, Writer):
            assert outcome.document is not None
            with self.settings.loading.stopwatch.on("writing"):
                terminal.document(sink.render(outcome.document))
        if outcome.captions_report:
            terminal.note(f"{outcome.name}: {outcome.captions_report}")
        if outcome.error is None:
            line = summary_line(outcome, outcome.origin or self.model.implementation, sink)
            terminal.note(line + (self._saving(outcome) if is_only else ""))

    def _finish(
        self,
        file: File,
        wall_seconds: float,
        transcript: Transcript | None,
        error: MaxWhisperError | None,
        origin: "Origin | None" = None,
    ) -> Outcome:
        """Writes a transcript's files, unless it is for stdout; returns the outcome."""
        seconds = self._transcribed_seconds(transcript.duration_seconds) if transcript else 0.0
        document = None
        if transcript is not None:
            transcript = transcript.shifted(file.input.start_seconds)
            try:
                with self.settings.loading.stopwatch.on("writing"):
                    document = self._document(transcript, file.name, origin)
                    if isinstance(file.sink, Outputs):
                        file.sink.write(document)
            except MaxWhisperError as unwritten:
                error = unwritten
            except SYSTEM_ERRORS as refused:
                error = refusal(refused, file.name)
        if isinstance(file.sink, JsonLines):
            line = file.sink.line(file.input.source, document, error, file.input.fields)
            self.settings.display.terminal.document(line)
        report = document.laid_out().report if document else None
        outcome = Outcome(
            file.name, wall_seconds, transcript, seconds, error, document, report, origin=origin
        )
        if error is None:
            self.on_written(file, outcome)
        elif self.settings.fails_fast:
            self.stopping.has_failed = True
        return outcome if isinstance(file.sink, Writer) else outcome.without_text()

    def _saving(self, outcome: Outcome) -> str:
        """Returns what cutting the only file would save, for the end of its summary line."""
        from maxwhisper_cli.transcription.cuts import count_parts

        transcript = outcome.transcript
        seconds = (transcript and transcript.speech_seconds) or outcome.transcribed_seconds
        n_rows = min(count_parts(seconds), self.model.implementation.default_rows)
        if self.options.batch_size != 1 or n_rows == 1:
            return ""
        return f"; --batch-size auto would cut it and decode {n_rows} parts side by side"

    def _activity(self) -> AbstractContextManager[Activity]:
        return self.settings.display.terminal.activity(
            is_wanted_when_piped=self.settings.display.shows_bar_when_piped
        )

    def _advance(self, activity: Activity, name: str, pace: Pace, progress: Progress) -> None:
        done = self._transcribed_seconds(progress.done_seconds)
        total = self._transcribed_seconds(progress.total_seconds)
        activity.show(name, done, total, f"{progress.language}  {pace.detail(done, total)}")

    def _transcribed_seconds(self, until_seconds: float) -> float:
        """Returns the seconds within the chosen clips, up to a point of the recording."""
        points = [min(at, until_seconds) for at in self.options.clip_timestamps or (0.0,)]
        points += [until_seconds] * (len(points) % 2)
        return sum(end - start for start, end in zip(points[::2], points[1::2], strict=True))

    def _show(self, file: File, segment: Segment) -> None:
        self.settings.display.segment(segment.shifted(file.input.start_seconds))

    def _source(self, file: File) -> "str | RecordingRequest":
        """Returns a path as it is, and all else as a request."""
        each = file.input
        is_plain = each.scheme is None and not each.is_excerpt
        language = each.language if self.model.implementation.dims.is_multilingual else None
        read = self.processes.opener(each.source) if is_plain else None
        if read is None and is_plain and language is None:
            return each.source
        from maxwhisper_cli.audio.excerpt import Excerpt
        from maxwhisper_cli.recording import RecordingRequest

        excerpt = Excerpt(each.start_seconds, each.duration_seconds) if each.is_excerpt else None
        shows = None if self.fetching is None else partial(self.fetching.show, file.name)
        opener = read or self.settings.remote.opener(each, shows)
        name = each.source if read else file.name
        return RecordingRequest(name, opener, excerpt, language, not _is_file_or_address(each))

    def _document(self, transcript: Transcript, name: str, origin: "Origin | None") -> Document:
        implementation = origin or self.model.implementation
        return Document(
            transcript=transcript,
            task=self.options.task,
            model=self.model.name or self.settings.loading.model or DEFAULT_MODEL,
            implementation=implementation.name,
            device=implementation.device,
            dtype=implementation.dtype,
            notes=self.model.notes,
            recording=Path(name).stem,
            captions=make_captions(transcript, self.settings.captions, task=self.options.task),
        )


def _is_file_or_address(each: Input) -> bool:
    if each.scheme is not None or each.source == STDIN:
        return each.scheme is not None
    return each.path.is_file() or not os.path.exists(each.source)  # noqa: PTH110  (as text)
