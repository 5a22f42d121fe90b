"""Command `maxwhisper parity`: the distance of each implementation from `cpu`, rung by rung."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from implementations import registry
from implementations.memory import translate_out_of_memory
from maxwhisper_cli import cli_options as cli
from maxwhisper_cli.commands.loading import Loading, load_model
from maxwhisper_cli.compare.candidates import Candidate, parse_candidates
from maxwhisper_cli.console import Column, Terminal
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.upstream_style import UpstreamCommand, as_command
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from rich.table import Table

    from maxwhisper_cli.model import Model
    from maxwhisper_cli.parity.ladder import Reference
    from maxwhisper_cli.parity.rungs import Rung


_TITLES = ("max |diff|", "relative", "1 - cosine", "limit")
_TABLE_WIDTH = 78
"""Characters per line that fit all columns of numbers."""


class ParityError(MaxWhisperError):
    """An implementation is further from `cpu` than its dtype allows."""


Files = Annotated[list[str], typer.Argument(metavar="FILES...", help="Recordings to compare on.")]
Impls = Annotated[
    str | None,
    typer.Option(
        "--impl",
        metavar="NAMES",
        help="Implementations, as a,b; with a dtype as full-max:int8; all that can run by default.",
    ),
]


@dataclass(frozen=True, slots=True)
class Parity:
    """Find where an implementation differs from cpu: weights, mel, encoder, logits, text.

    Run it when text goes wrong. The first red rung is the origin of the error.
    """

    files: Files
    impl: Impls = None
    model: cli.Model = None
    model_dir: cli.ModelDir = None
    offline: cli.Offline = False
    device: cli.Device = None
    dtype: cli.Dtype = None
    threads: cli.Threads = 0
    language: cli.Language = None
    beam_size: cli.BeamSize = 5

    def run(self) -> None:
        """Climbs the ladder of each implementation on each file."""
        terminal = Terminal()
        candidates = self._candidates()
        options = self._options()
        with self._load(self.model, registry.REFERENCE, (None, None), terminal) as cpu:
            from maxwhisper_cli.audio.reader import open_audio
            from maxwhisper_cli.parity.ladder import make_reference

            references = []
            for file in self.files:
                terminal.note(f"{registry.REFERENCE}: {file}")
                with open_audio(file) as audio:
                    samples = audio.read()
                references.append((file, make_reference(cpu.implementation, samples, options)))
            failed = [
                candidate.label
                for candidate in candidates
                if not self._climb(candidate, cpu, references, options, terminal)
            ]
        if failed:
            raise ParityError(f"{' and '.join(failed)} went further from cpu than allowed")

    def _climb(
        self,
        candidate: Candidate,
        cpu: "Model",
        references: "list[tuple[str, Reference]]",
        options: TranscribeOptions,
        terminal: Terminal,
    ) -> bool:
        """Prints an implementation's ladders; returns whether all rungs hold."""
        from maxwhisper_cli.parity.ladder import climb

        passed = True
        place = self.device, candidate.dtype or self.dtype
        name = candidate.implementation
        with self._load(self.model or cpu.name, name, place, terminal) as model:
            ours = model.implementation
            for file, reference in references:
                terminal.note(f"{name}: {file}")
                with translate_out_of_memory(ours.device):
                    rungs = list(climb(ours, cpu.implementation, reference, options))
                terminal.line(f"{name} ({ours.device}, {ours.dtype}) against cpu: {file}")
                _show(rungs, terminal)
                passed = passed and all(rung.passed is not False for rung in rungs)
        return passed

    def _load(
        self,
        model: str | None,
        name: str,
        place: tuple[str | None, str | None],
        terminal: Terminal,
    ) -> "Model":
        """Loads a model onto an implementation, on a device and in a dtype."""
        device, dtype = place
        return load_model(
            Loading(
                model=model,
                impl=name,
                device=device,
                dtype=dtype,
                n_threads=self.threads or 0,
                model_dir=self.model_dir,
                is_offline=self.offline,
                self_check=False,
            ),
            terminal,
        )

    def _candidates(self) -> list[Candidate]:
        if self.impl is not None:
            return parse_candidates(self.impl)
        others = (name for name in registry.names() if name != registry.REFERENCE)
        able = [name for name in others if registry.unavailable_because(name) is None]
        return [Candidate(name) for name in able or [registry.REFERENCE]]

    def _options(self) -> TranscribeOptions:
        return TranscribeOptions(language=self.language, beam_size=self.beam_size)


def _show(rungs: "list[Rung]", terminal: Terminal) -> None:
    """Prints a ladder as a table, or as a list on a narrow terminal."""
    if terminal.width >= _TABLE_WIDTH:
        terminal.show(_table(rungs))
        return
    columns = [Column("rung", is_name=True), *(Column(t, is_number=True) for t in _TITLES)]
    words = {True: "ok", False: "RED", None: "differs"}
    rows = [(rung.name, *_numbers(rung), words[rung.passed], rung.note) for rung in rungs]
    terminal.table([*columns, Column("verdict", is_name=True), Column("note")], rows)


def _table(rungs: "list[Rung]") -> "Table":
    """Returns a ladder as a table that fits 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("rung", no_wrap=True)
    for title in _TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    styles = {True: ("ok", "green"), False: ("RED", "bold red"), None: ("differs", "yellow")}
    for rung in rungs:
        word, style = styles[rung.passed]
        table.add_row(rung.name, *_numbers(rung), Text(word, style=style), Text(rung.note))
    return table


def _numbers(rung: "Rung") -> tuple[str, str, str, str]:
    """Returns largest difference, relative error, 1 - cosine, and the limit."""
    limit = "" if rung.limit is None else f"{rung.limit:.0e}"
    if rung.is_relative and limit:
        limit += " rel"
    if rung.distance is None:
        return "", "", "", limit
    distance = rung.distance
    return (
        f"{distance.max_abs:.1e}",
        f"{distance.relative:.1e}",
        f"{max(0.0, 1 - distance.cosine):.0e}",
        limit,
    )


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command("parity", cls=UpstreamCommand, no_args_is_help=True)(as_command(Parity))
