"""A run over the units of a manifest: by one shard here, or by the actors of a cluster."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from maxwhisper_cli.cluster.destination import UNIT_PREFIX, Destination
from maxwhisper_cli.cluster.plan import Unit, parse_shard, plan_key, plan_units, units_of_shard
from maxwhisper_cli.cluster.progress import Tally
from maxwhisper_cli.cluster.worker import FinishedUnit, UnitWorker
from maxwhisper_cli.commands.interrupting import Stopping, finishing_on_interrupt
from maxwhisper_cli.commands.loading import Loading, fit_to_model, load_model
from maxwhisper_cli.commands.resuming import options_record
from maxwhisper_cli.commands.sinks import check_summary
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.transcription.options import AUTO_ROWS, OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import STOPPED
from maxwhisper_cli.writers.files import files_of_model, write_atomically
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions


@dataclass(frozen=True, slots=True)
class GivenUnits:
    """Values of the options of a run over units."""

    manifest: Path | None
    output_dir: str
    shard: str | None
    cluster: str | None
    price_per_hour: float | None
    forces: bool
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
        if (problem := next((each.problem for each in inputs if each.problem), None)) is not None:
            raise problem
        outputs = [Path(self.output_dir) / "run.json"]
        if self.summary is not None and self.summary.name.startswith(UNIT_PREFIX):
            outputs.append(Path(self.output_dir) / self.summary.name)
        check_summary(self.summary, inputs, [*files_of_model(model), *self.lists], outputs)


def transcribe_units(
    inputs: Sequence[Input],
    given: GivenUnits,
    loading: Loading,
    transcription: "tuple[TranscribeOptions, ReadingOptions]",
    remote: Remote,
    terminal: Terminal,
) -> None:
    """Transcribes the units that are not done yet, and writes each as it ends.

    Raises:
        MaxWhisperError: A recording failed twice, or nothing can be written.
        KeyboardInterrupt: The user has stopped the run.
    """
    given.check(inputs, loading.model)
    if loading.model is None:
        raise OptionsError("--shard and --cluster need --model, the same for all machines")
    options = replace(transcription[0], batch_size=AUTO_ROWS)
    reading = transcription[1]
    units = plan_units(inputs)
    destination = Destination(given.output_dir)
    destination.begin(plan_key(units), _options_key(loading, options, reading))
    if given.shard is not None:
        units = units_of_shard(units, *parse_shard(given.shard))
    left = [unit for unit in units if given.forces or not destination.is_done(unit)]
    terminal.note(f"{len(left)} of {len(units)} units are to be done")
    tally = Tally(len(left), sum(unit.seconds for unit in left), given.price_per_hour)
    stopping = Stopping()
    lines: list[Mapping[str, object]] = []
    with ExitStack() as resources:
        resources.callback(_write_summary, given.summary, lines, tally)
        finished = (
            _by_shard(left, loading, options, reading, remote, terminal, stopping, resources)
            if given.cluster is None
            else _by_cluster(left, given.cluster, loading, options, reading, remote, tally)
        )
        try:
            for each in finished:
                destination.write(each.unit, each.records)
                tally.add(each.unit, each.records)
                lines.append({"unit": each.unit.number, "failed": each.n_failed, **tally.record()})
                terminal.note(tally.line())
        except KeyboardInterrupt:
            stopping.is_interrupted = True
    if stopping.is_interrupted and tally.n_done < tally.n_units:
        n_left = tally.n_units - tally.n_done
        terminal.error(f"{n_left} of {len(units)} units are left: the same command goes on")
        raise KeyboardInterrupt
    if tally.n_failed:
        raise MaxWhisperError(
            f"{tally.n_failed} of {tally.n_recordings} recordings failed twice; "
            f"their records in {given.output_dir} have the errors"
        )


def _by_shard(
    units: list[Unit],
    loading: Loading,
    options: TranscribeOptions,
    reading: "ReadingOptions",
    remote: Remote,
    terminal: Terminal,
    stopping: Stopping,
    resources: ExitStack,
) -> Iterator[FinishedUnit]:
    if not units:
        return
    model = resources.enter_context(load_model(loading, terminal))
    fitting = fit_to_model(options, model, terminal)
    worker = UnitWorker(model, fitting, reading, remote, stopping.keep_going)

    def say() -> None:
        terminal.warning("finishing the recordings under way; Ctrl-C again stops at once")

    resources.enter_context(finishing_on_interrupt(stopping, say))
    yield from worker.transcribe(units)


def _by_cluster(
    units: list[Unit],
    address: str,
    loading: Loading,
    options: TranscribeOptions,
    reading: "ReadingOptions",
    remote: Remote,
    tally: Tally,
) -> Iterator[FinishedUnit]:
    if not units:
        return
    from maxwhisper_cli.cluster.actors import ActorPool, connect

    ray = connect(address)
    make = partial(_make_worker, replace(loading, stopwatch=STOPPED), options, reading, remote)
    pool = ActorPool(ray, make, units, loading.n_threads)
    for finished in pool:
        tally.n_workers = max(1, pool.n_workers)
        yield finished


def _make_worker(
    loading: Loading, options: TranscribeOptions, reading: "ReadingOptions", remote: Remote
) -> UnitWorker:
    """Loads the model in an actor, without a terminal."""
    terminal = Terminal(is_quiet=True)
    model = load_model(loading, terminal)
    fitting = fit_to_model(options, model, terminal)
    return UnitWorker(model, fitting, reading, remote, tries_again=False)


def _options_key(loading: Loading, options: TranscribeOptions, reading: "ReadingOptions") -> str:
    from maxwhisper_cli.captions.captions import CaptionOptions

    record = options_record(loading, options, reading, CaptionOptions(), None)
    text = json.dumps(record, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _write_summary(path: Path | None, lines: list[Mapping[str, object]], tally: Tally) -> None:
    if path is not None:
        everything = [*lines, {"total": True, **tally.record()}]
        write_atomically(path, "".join(f"{json.dumps(each)}\n" for each in everything))
