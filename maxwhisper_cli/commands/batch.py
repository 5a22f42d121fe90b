"""Transcription of files, one after the other or in one batch: display, outputs and summary.

In a batch each file is written as soon as it is done, and reported in input order. One file's
failure does not stop the others. Options and output names are checked before.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maxwhisper_cli.activity import Activity, Pace, clock
from maxwhisper_cli.captions.captions import CaptionOptions, make_captions
from maxwhisper_cli.commands.loading import Loading, fit_to_model, load_model
from maxwhisper_cli.commands.outcome import COLUMNS, Outcome, row, short_names, summary_line
from maxwhisper_cli.commands.overview import Display, OrderedSegments, Overview
from maxwhisper_cli.commands.sinks import Sink, Stdout
from maxwhisper_cli.system_errors import SYSTEM_ERRORS, refusal
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Transcript
from maxwhisper_cli.writers.base import Document, Writer
from maxwhisper_cli.writers.files import Outputs
from maxwhisper_cli.writers.jsonl import JsonLines
from weights.default_model import DEFAULT_MODEL
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.recording import Recording


def transcribe_files(
    sinks: Sequence[tuple[str, Sink]],
    loading: Loading,
    options: TranscribeOptions,
    reading: "ReadingOptions",
    captions: CaptionOptions,
    display: Display,
) -> None:
    """Loads the model, transcribes each file into its sink, and prints a summary.

    Args:
        sinks: Each file (`-` is standard input) with the files to write, with the one format to
            print on stdout, or with the reason why it cannot be written.
        loading: The model, and the implementation that runs it.
        options: Options of the transcription.
        reading: Channel and track to transcribe, and the format of raw samples.
        captions: Options of captions, for formats that have cues.
        display: Settings of the display.

    Raises:
        MaxWhisperError: The model cannot be loaded, or a file could not be transcribed.
    """
    with load_model(loading, display.terminal) as model:
        fitting = fit_to_model(options, model, display.terminal)
        work = _Work(model, loading, fitting, reading, captions, display)
        names = short_names([source for source, _ in sinks])
        outcomes = [
            Outcome(names[source], 0.0, error=sink)
            for source, sink in sinks
            if isinstance(sink, MaxWhisperError)
        ]
        for outcome in outcomes:
            display.terminal.error(str(outcome.error))
        files = [
            _File(source, names[source], sink)
            for source, sink in sinks
            if not isinstance(sink, MaxWhisperError)
        ]
        from maxwhisper_cli.throughput.rows import count_rows  # after the model: it takes numpy

        is_batch = len(sinks) > 1 and count_rows(model.implementation, fitting) > 1
        done = (work.transcribe_together if is_batch else work.transcribe_in_turn)(files)
        for file, outcome in zip(files, done, strict=True):
            outcomes.append(outcome.without_text())
            work.report(outcome, file.sink, is_only=len(sinks) == 1)
            if outcome.error is not None and len(sinks) > 1:
                display.terminal.error(str(outcome.error))
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(outcomes) > 1 and not display.terminal.is_quiet:
        display.terminal.summary(COLUMNS, map(row, outcomes))
    if errors:
        only = errors[0] if len(outcomes) == 1 else None
        raise only or MaxWhisperError(f"{len(errors)} of {len(outcomes)} files failed")
    display.terminal.check_results()


@dataclass(frozen=True, slots=True)
class _File:
    """A file to transcribe."""

    source: str
    name: str
    """Name in messages."""
    sink: Outputs | Stdout


@dataclass(frozen=True, slots=True)
class _Work:
    """Model, options and display that all files share."""

    model: "Model"
    loading: Loading
    options: TranscribeOptions
    reading: "ReadingOptions"
    captions: CaptionOptions
    display: Display

    def transcribe_in_turn(self, files: Sequence[_File]) -> Iterator[Outcome]:
        """Transcribes files one after the other and writes each; those to come are read ahead."""
        with self.model.read_ahead([f.source for f in files], self.options, **self.reading) as each:
            yield from map(self._transcribe, files, each)

    def _transcribe(self, file: _File, recording: AbstractContextManager["Recording"]) -> Outcome:
        pace = Pace()
        try:
            with self._activity() as activity:
                activity.show(file.name)
                transcript = self.model.transcribe_opened(
                    recording,
                    self.options,
                    on_segment=self.display.segment,
                    on_progress=lambda progress: self._advance(activity, file.name, pace, progress),
                    on_warning=self.display.terminal.warning,
                )
        except MaxWhisperError as error:
            return self._finish(file, pace.seconds, None, error)
        except BrokenPipeError:  # of stdout, where all results go
            raise
        except SYSTEM_ERRORS as error:
            return self._finish(file, pace.seconds, None, refusal(error, file.name))
        return self._finish(file, pace.seconds, transcript, None)

    def transcribe_together(self, files: Sequence[_File]) -> Iterator[Outcome]:
        """Transcribes files in one batch and writes each as it is done; yields them in order."""
        overview = Overview(len(files))
        activity = Activity()

        def advance(index: int, progress: Progress) -> None:
            done = self._transcribed_seconds(progress.done_seconds)
            total = self._transcribed_seconds(progress.total_seconds)
            overview.progress[index] = done, total
            overview.show(activity)

        outcomes: dict[int, Outcome] = {}
        segments = OrderedSegments(self.display.segment)
        running = self.model.transcribe_several(
            [file.source for file in files],
            self.options,
            on_progress=advance,
            on_segment=segments.add if self.display.shows_segments else None,
            on_warning=self.display.terminal.warning,
            **self.reading,
        )
        with closing(running) as finished:
            for index in range(len(files)):
                with self._activity() as activity:
                    overview.show(activity)
                    segments.go_to(index)
                    while index not in outcomes:
                        each = next(finished)
                        overview.finished.add(each.index)
                        outcomes[each.index] = self._finish(
                            files[each.index], each.wall_seconds, each.transcript, each.error
                        )
                yield outcomes.pop(index)

    def report(self, outcome: Outcome, sink: Outputs | Stdout, *, is_only: bool) -> None:
        """Prints a transcript's warnings and summary line; itself if stdout is its sink."""
        terminal, transcript = self.display.terminal, outcome.transcript
        if transcript is None:
            return
        for warning in transcript.warnings:
            terminal.warning(warning)
        if outcome.transcribed_seconds == 0 < (end := transcript.duration_seconds):
            terminal.warning(f"{outcome.name} ends at {clock(end)}, before the clips")
        if isinstance(sink, Writer):
            assert outcome.document is not None
            with self.loading.stopwatch.on("writing"):
                terminal.document(sink.render(outcome.document))
        if outcome.captions_report:
            terminal.note(f"{outcome.name}: {outcome.captions_report}")
        if outcome.error is None:
            line = summary_line(outcome, self.model.implementation, sink)
            terminal.note(line + (self._saving(outcome) if is_only else ""))

    def _finish(
        self,
        file: _File,
        wall_seconds: float,
        transcript: Transcript | None,
        error: MaxWhisperError | None,
    ) -> Outcome:
        """Writes a transcript's files, unless it is for stdout; returns the outcome."""
        seconds = self._transcribed_seconds(transcript.duration_seconds) if transcript else 0.0
        document = None
        if transcript is not None:
            try:
                with self.loading.stopwatch.on("writing"):
                    document = self._document(transcript, file.name)
                    if isinstance(file.sink, Outputs):
                        file.sink.write(document)
            except MaxWhisperError as unwritten:
                error = unwritten
            except SYSTEM_ERRORS as refused:
                error = refusal(refused, file.name)
        if isinstance(file.sink, JsonLines):
            self.display.terminal.document(file.sink.line(file.source, document, error))
        report = document.laid_out().report if document else None
        outcome = Outcome(file.name, wall_seconds, transcript, seconds, error, document, report)
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
        return self.display.terminal.activity(
            is_wanted_when_piped=self.display.shows_bar_when_piped
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

    def _document(self, transcript: Transcript, name: str) -> Document:
        implementation = self.model.implementation
        return Document(
            transcript=transcript,
            task=self.options.task,
            model=self.model.name or self.loading.model or DEFAULT_MODEL,
            implementation=implementation.name,
            device=implementation.device,
            dtype=implementation.dtype,
            notes=self.model.notes,
            recording=Path(name).stem,
            captions=make_captions(transcript, self.captions, task=self.options.task),
        )
