"""A run over the units of a manifest: by one shard here, or by the actors of a cluster."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from maxwhisper_cli.cluster.destination import FORMATS, JSONL, PARQUET, UNIT_PREFIX, Destination
from maxwhisper_cli.cluster.plan import parse_shard, plan_key, plan_units, units_of_shard
from maxwhisper_cli.cluster.progress import Tally
from maxwhisper_cli.cluster.worker import FinishedUnit, UnitWorker
from maxwhisper_cli.commands.interrupting import Stopping, finishing_on_interrupt
from maxwhisper_cli.commands.loading import (
    Loading,
    fit_to_model,
    load_model,
    load_on_devices,
    names_several,
)
from maxwhisper_cli.commands.resuming import options_record
from maxwhisper_cli.commands.sinks import check_summary
from maxwhisper_cli.commands.units_display import UnitsDisplay
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.transcription.options import AUTO_ROWS, OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import RunningStopwatch
from maxwhisper_cli.writers.files import files_of_model, write_atomically
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.cluster.actors import TaskReader

Finished = Iterator[tuple[int, str, FinishedUnit]]
"""Units as they end, each with number and name of its worker."""


@dataclass(frozen=True, slots=True)
class GivenUnits:
    """Values of the options of a run over units."""

    manifest: Path | None
    output_dir: str
    output_format: Sequence[str] | None
    shard: str | None
    cluster: str | None
    price_per_hour: float | None
    forces: bool
    is_jsonl: bool
    summary: Path | None
    lists: Sequence[Path]
    """Files that name recordings."""

    def check(self, inputs: Sequence[Input], model: str | None) -> None:
        """Checks the options against each other and against the inputs.

        Raises:
            OptionsError: They do not go together.
            MaxWhisperError: An input stands for no recording, or the summary cannot be written.
        """
        if self.manifest is None or self.output_dir in {".", "-"}:
            raise OptionsError("--shard and --cluster need --manifest, and a folder: -o OUT")
        if self.shard is not None and self.cluster is not None:
            raise OptionsError(
                "--shard is a part for one machine, --cluster all machines: give one"
            )
        if self.format not in FORMATS:
            raise OptionsError(f"--shard and --cluster write -f {' or '.join(FORMATS)}")
        if self.format == PARQUET:
            from maxwhisper_cli.cluster.parquet import require_pyarrow

            require_pyarrow()
        if (problem := next((each.problem for each in inputs if each.problem), None)) is not None:
            raise problem
        outputs = [Path(self.output_dir) / "run.json"]
        if self.summary is not None and self.summary.name.startswith(UNIT_PREFIX):
            outputs.append(Path(self.output_dir) / self.summary.name)
        check_summary(self.summary, inputs, [*files_of_model(model), *self.lists], outputs)

    @property
    def format(self) -> str:
        """Format of the units' files."""
        return ",".join(self.output_format or [JSONL]).lower()


@dataclass(frozen=True, slots=True)
class UnitSettings:
    """The model, and what holds for all recordings."""

    loading: Loading
    options: TranscribeOptions
    reading: "ReadingOptions"
    remote: Remote

    def key(self) -> str:
        """Returns a hash of what the records depend on."""
        from maxwhisper_cli.captions.captions import CaptionOptions

        record = options_record(self.loading, self.options, self.reading, CaptionOptions(), None)
        text = json.dumps(record, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def transcribe_units(
    inputs: Sequence[Input], given: GivenUnits, settings: UnitSettings, terminal: Terminal
) -> None:
    """Transcribes the units that are not done yet, and writes each as it ends.

    Raises:
        MaxWhisperError: A recording failed twice, or nothing can be written.
        KeyboardInterrupt: The user has stopped the run.
    """
    given.check(inputs, settings.loading.model)
    if settings.loading.model is None:
        raise OptionsError("--shard and --cluster need --model, the same for all machines")
    settings = replace(settings, options=replace(settings.options, batch_size=AUTO_ROWS))
    _Run(inputs, given, settings, terminal).run()


class _Run:
    """One run, by one shard or on a cluster."""

    def __init__(
        self,
        inputs: Sequence[Input],
        given: GivenUnits,
        settings: UnitSettings,
        terminal: Terminal,
    ) -> None:
        self._given = given
        self._settings = settings
        self._terminal = terminal
        units = plan_units(inputs)
        self._destination = Destination(given.output_dir, given.format)
        self._destination.begin(plan_key(units), settings.key())
        if given.shard is not None:
            units = units_of_shard(units, *parse_shard(given.shard))
        self._n_units = len(units)
        self._left = [unit for unit in units if given.forces or not self._destination.is_done(unit)]
        seconds = sum(unit.seconds for unit in self._left)
        self._tally = Tally(len(self._left), seconds, given.price_per_hour)
        self._stopping = Stopping()

    def run(self) -> None:
        """Transcribes, writes and reports."""
        terminal, tally = self._terminal, self._tally
        terminal.note(f"{len(self._left)} of {self._n_units} units are to be done")
        lines: list[Mapping[str, object]] = []
        with ExitStack() as resources:
            resources.callback(_write_summary, self._given.summary, lines, tally)
            finished = self._on_cluster() if self._given.cluster else self._by_shard(resources)
            display = resources.enter_context(
                UnitsDisplay(terminal, tally, is_jsonl=self._given.is_jsonl)
            )
            try:
                for number, place, each in finished:
                    self._destination.write(each.unit, each.records)
                    tally.add(each, number, place)
                    state = tally.record()
                    lines.append(
                        {"unit": each.unit.number, "worker": place, "unit_failed": each.n_failed}
                        | state
                    )
                    display.show(lines[-1])
            except KeyboardInterrupt:
                self._stopping.is_interrupted = True
        self._end()

    def _end(self) -> None:
        """Says what is left or has failed."""
        tally = self._tally
        if self._stopping.is_interrupted and tally.n_done < tally.n_units:
            n_left = tally.n_units - tally.n_done
            self._terminal.error(
                f"{n_left} of {self._n_units} units are left: the same command goes on"
            )
            raise KeyboardInterrupt
        if tally.n_failed:
            raise MaxWhisperError(
                f"{tally.n_failed} of {tally.n_recordings} recordings failed twice; "
                f"their records in {self._given.output_dir} have the errors"
            )

    def _by_shard(self, resources: ExitStack) -> Finished:
        if not self._left:
            return
        settings, terminal = self._settings, self._terminal
        loading = settings.loading
        n_recordings = sum(len(unit.entries) for unit in self._left)
        watch = RunningStopwatch()
        is_several = loading.device is not None and names_several(loading.device)
        timed = loading if is_several else replace(loading, stopwatch=watch)
        model = load_on_devices(timed, terminal, n_recordings)
        resources.enter_context(model)
        fitting = fit_to_model(settings.options, model, terminal)
        worker = UnitWorker(
            model,
            fitting,
            settings.reading,
            settings.remote,
            self._stopping.keep_going,
            stopwatch=timed.stopwatch,
        )

        def say() -> None:
            terminal.warning("finishing the recordings under way; Ctrl-C again stops at once")

        resources.enter_context(finishing_on_interrupt(self._stopping, say))
        for each in worker.transcribe(self._left):
            yield 0, worker.place, each

    def _on_cluster(self) -> Finished:
        if not self._left:
            return
        from maxwhisper_cli.cluster.actors import ActorPool, connect
        from maxwhisper_cli.cluster.metrics import Metrics
        from maxwhisper_cli.cluster.shared_files import SharedFile, model_files

        loading = self._settings.loading
        if loading.device not in {None, "cpu", "cuda"}:
            raise OptionsError("--cluster takes --device cpu or cuda, and each GPU by itself")
        ray = connect(self._given.cluster or "auto")
        make = partial(_make_worker, self._settings)
        files: tuple[SharedFile, ...] = ()
        if loading.model is not None and loading.model_dir is None:
            files = model_files(loading.model, is_offline=loading.is_offline)
        pool = ActorPool(ray, make, self._left, loading.n_threads, files)
        metrics = Metrics(ray)
        for number, place, finished in pool:
            self._tally.n_workers = max(1, pool.n_workers)
            yield number, place, finished
            metrics.set(self._tally)


def _make_worker(settings: UnitSettings, read: "TaskReader | None") -> UnitWorker:
    """Loads the model in an actor, without a terminal, on what is fastest there."""
    from implementations.choose import fastest_here

    terminal = Terminal(is_quiet=True)
    loading = settings.loading
    watch = RunningStopwatch()
    impl = fastest_here(loading.impl, loading.device)
    model = load_model(replace(loading, stopwatch=watch, impl=impl), terminal)
    fitting = fit_to_model(settings.options, model, terminal)
    if read is not None:
        model.n_reading_threads = read.n_at_once + 1
    return UnitWorker(
        model,
        fitting,
        settings.reading,
        settings.remote,
        tries_again=False,
        stopwatch=watch,
        read_elsewhere=read,
    )


def _write_summary(path: Path | None, lines: list[Mapping[str, object]], tally: Tally) -> None:
    if path is not None:
        workers = [each.record() for _, each in sorted(tally.workers.items())]
        everything = [*lines, {"total": True, **tally.record(), "by_worker": workers}]
        write_atomically(path, "".join(f"{json.dumps(each)}\n" for each in everything))
