"""A run over files: what is done before is left out, the rest transcribed, and all reported.

One file's failure does not stop the others, unless that is asked for. Options and output names are
checked before.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from maxwhisper_cli.commands.interrupting import Stopping, finishing_on_interrupt
from maxwhisper_cli.commands.loading import begin, fit_to_model, load_on_devices
from maxwhisper_cli.commands.outcome import COLUMNS, Outcome, row, short_names
from maxwhisper_cli.commands.resuming import options_record, write_summary
from maxwhisper_cli.commands.sinks import Sink
from maxwhisper_cli.commands.work import Fetching, File, Settings, Work
from maxwhisper_cli.inputs.input import Input
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.devices.pool import DevicePool
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.throughput.reading_processes import ReadingProcesses


def transcribe_files(sinks: Sequence[tuple[Input, Sink]], settings: Settings) -> None:
    """Loads the model, transcribes each file into its sink, and prints a summary.

    Args:
        sinks: Each input with the files to write, with the one format to print on stdout, or with
            the reason why it cannot be written.
        settings: Options.

    Raises:
        MaxWhisperError: The model cannot be loaded, or a file could not be transcribed.
        KeyboardInterrupt: The user has stopped the run.
    """
    _Run(sinks, settings).run()


class _Run:
    """One run, and how each of its files ended."""

    def __init__(self, sinks: Sequence[tuple[Input, Sink]], settings: Settings) -> None:
        self._sinks = sinks
        self._settings = settings
        self._terminal = settings.display.terminal
        self._names = short_names([each for each, _ in sinks])
        self._outcomes: dict[int, Outcome] = {}
        self._stopping = Stopping()

    def run(self) -> None:
        """Transcribes and reports."""
        is_several = len(self._sinks) > 1
        try:
            self._refuse()
            if self._settings.loading.model is not None:
                self._skip(None)
            if left := self._left():
                loading = self._settings.loading
                with (
                    self._begin(left) as processes,
                    load_on_devices(loading, self._terminal, len(left)) as model,
                ):
                    if self._settings.loading.model is None:
                        self._skip(model.name)
                    if is_several:
                        with finishing_on_interrupt(self._stopping, self._say_finishing):
                            self._transcribe(model, processes)
                    else:
                        self._transcribe(model, processes)
        except KeyboardInterrupt:
            self._stopping.is_interrupted = True
        except MaxWhisperError:
            self._summarise(has_table=False)
            raise
        try:
            self._summarise(has_table=is_several and bool(self._outcomes))
        except KeyboardInterrupt:  # the table is cut short, and nothing else
            self._stopping.is_interrupted = True
            self._summarise(has_table=False)
        self._end()

    def _refuse(self) -> None:
        """Reports the files that cannot be written."""
        for index, (_, sink) in enumerate(self._sinks):
            if isinstance(sink, MaxWhisperError):
                self._outcomes[index] = Outcome(self._names[index], 0.0, error=sink)
                self._terminal.error(str(sink))

    def _skip(self, model_name: str | None) -> None:
        """Leaves out what an earlier run has done."""
        settings, resuming = self._settings, self._settings.resuming
        if resuming is None:
            return
        resuming.begin(
            options_record(
                settings.loading,
                settings.options,
                settings.reading,
                settings.captions,
                model_name,
            )
        )
        with self._terminal.activity() as activity:
            for index, (each, sink) in enumerate(self._sinks):
                if resuming.skips:
                    activity.show("looking for what is done", index, len(self._sinks))
                if index in self._outcomes or (done := resuming.done_before(each, sink)) is None:
                    continue
                self._outcomes[index] = Outcome(
                    self._names[index],
                    0.0,
                    transcribed_seconds=done.seconds,
                    language_before=done.language,
                )
        n_done = sum(outcome.is_done_before for outcome in self._outcomes.values())
        if n_done:
            self._terminal.note(f"{n_done} of {len(self._sinks)} files are done already")

    def _left(self) -> list[File]:
        return [
            File(index, each, self._names[index], sink)
            for index, (each, sink) in enumerate(self._sinks)
            if index not in self._outcomes and not isinstance(sink, MaxWhisperError)
        ]

    def _begin(self, files: Sequence[File]) -> "ReadingProcesses":
        """Begins to read the first files, while the model is loaded."""
        paths = [
            file.input.source
            for file in files
            if file.input.scheme is None and not file.input.is_excerpt
        ]
        return begin(self._settings.loading, paths, self._settings.reading)

    def _transcribe(self, model: "Model | DevicePool", processes: "ReadingProcesses") -> None:
        from maxwhisper_cli.devices.messages import Facts
        from maxwhisper_cli.throughput.rows import count_rows  # after the model: it takes numpy

        settings, terminal = self._settings, self._terminal
        fitting = fit_to_model(settings.options, model, terminal)
        files = self._left()
        is_several = len(self._sinks) > 1
        is_pool = isinstance(model.implementation, Facts)
        fetching = None if is_pool else Fetching()
        work = Work(model, settings, fitting, self._stopping, self._record, processes, fetching)
        is_batch = is_pool or (is_several and count_rows(model.implementation, fitting) > 1)
        done = (work.transcribe_together if is_batch else work.transcribe_in_turn)(files)
        for file, outcome in done:
            self._outcomes[file.index] = outcome.without_text()
            work.report(outcome, file.sink, is_only=not is_several)
            if outcome.error is not None and is_several:
                terminal.error(str(outcome.error))

    def _record(self, file: File, outcome: Outcome) -> None:
        if self._settings.resuming is not None:
            try:
                self._settings.resuming.add(file.input, file.sink, outcome)
            except MaxWhisperError as error:
                self._terminal.warning(str(error))

    def _say_finishing(self) -> None:
        self._terminal.warning("finishing what is under way; Ctrl-C again stops at once")

    def _summarise(self, *, has_table: bool) -> None:
        outcomes: Mapping[int, Outcome] = dict(sorted(self._outcomes.items()))
        if has_table and not self._terminal.is_quiet:
            self._terminal.summary(COLUMNS, map(row, outcomes.values()))
        write_summary(self._settings.summary, self._sinks, outcomes)

    def _end(self) -> None:
        """Says what is left to do.

        Raises:
            MaxWhisperError: A file failed.
            KeyboardInterrupt: The user has stopped the run.
        """
        errors = [each.error for each in self._outcomes.values() if each.error is not None]
        n_files, n_left = len(self._sinks), len(self._left())
        left = f"{n_left} of {n_files} files are left to do{self._advice()}"
        if self._stopping.is_interrupted and n_left:
            if n_files > 1:
                self._terminal.error(left)
            raise KeyboardInterrupt
        if errors:
            failed = f"{len(errors)} of {n_files} files failed"
            only = errors[0] if n_files == 1 else None
            raise only or MaxWhisperError(f"{failed}; {left}" if n_left else failed)
        self._terminal.check_results()

    def _advice(self) -> str:
        if self._settings.resuming is None:
            return ""
        return ": the same command with --resume goes on with them"
