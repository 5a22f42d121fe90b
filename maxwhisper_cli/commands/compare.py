"""Command `maxwhisper compare`: its options, and their combinations."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from implementations import registry
from maxwhisper_cli import cli_options as cli
from maxwhisper_cli.commands.option_parsing import parse_device
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.upstream_style import UpstreamCommand, as_command, option

if TYPE_CHECKING:
    from maxwhisper_cli.compare.results import Comparison

_RECORDINGS_PANEL = "Recordings"
_METHOD_PANEL = "How it is done"
_REPORT = "What is reported"
_SAMPLES = ("jfk", "sonnet")
_SAMPLES_MODEL = "tiny.en"


Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILES]...",
        help="Recordings; the samples jfk and sonnet by default.",
        rich_help_panel=_RECORDINGS_PANEL,
    ),
]
References = Annotated[
    list[Path] | None,
    option(
        "--reference",
        "Reference text, once for each recording; by default a .txt file beside it.",
        _RECORDINGS_PANEL,
        "FILE",
    ),
]
Impls = Annotated[
    str | None,
    option(
        "--impl",
        "Implementations, as a,b; with a dtype as full-max:int8; all by default.",
        _METHOD_PANEL,
        "NAMES",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        envvar="MAXWHISPER_MODEL",
        help="A name, file or folder; tiny.en for the samples, else turbo.",
        rich_help_panel=_METHOD_PANEL,
    ),
]
Runs = Annotated[
    int,
    typer.Option(
        "--runs",
        min=1,
        metavar="N",
        help="Timed runs, after a warm-up.",
        rich_help_panel=_METHOD_PANEL,
    ),
]
Device = Annotated[
    str | None,
    option(
        "--device", "cpu, cuda, cuda:1, ..., for those that can run there.", _METHOD_PANEL, "DEVICE"
    ),
]
Dtypes = Annotated[
    str | None,
    option(
        "--dtype",
        "For all but cpu (float16), or for some (cuda=float16,full-max=int8).",
        _METHOD_PANEL,
        "DTYPE",
    ),
]
Wide = Annotated[bool, typer.Option("--wide", help="Show all columns.", rich_help_panel=_REPORT)]
Json = Annotated[Path | None, option("--json", "Write everything as JSON.", _REPORT, "FILE")]
Markdown = Annotated[
    Path | None, option("--markdown", "Write the table for a README.", _REPORT, "FILE")
]
Html = Annotated[
    Path | None, option("--html", "Write a page with charts, texts and sound.", _REPORT, "FILE")
]
Save = Annotated[
    bool,
    typer.Option("--save", help="Keep it for `maxwhisper history`.", rich_help_panel=_REPORT),
]
HistoryDir = Annotated[
    Path | None,
    typer.Option(
        "--history-dir",
        metavar="DIR",
        envvar="MAXWHISPER_HISTORY",
        help="Where --save keeps it, instead of the user's data folder.",
        rich_help_panel=_REPORT,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print no progress, only results.", rich_help_panel=_REPORT),
]


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare implementations: time, memory and accuracy on the same recordings.

    Each runs in a process of its own, one after the other.
    """

    files: Files = None
    reference: References = None
    impl: Impls = None
    model: Model = None
    model_dir: cli.ModelDir = None
    offline: cli.Offline = False
    runs: Runs = 3
    language: cli.Language = None
    temperature: cli.Temperature = 0.0
    beam_size: cli.BeamSize = None
    threads: cli.Threads = 0
    device: Device = None
    dtype: Dtypes = None
    wide: Wide = False
    json: Json = None
    markdown: Markdown = None
    html: Html = None
    save: Save = False
    history_dir: HistoryDir = None
    quiet: Quiet = False

    def run(self) -> None:
        """Checks the options, fetches model and samples, compares, and reports."""
        from maxwhisper_cli.compare.candidates import on_device, parse_candidates, with_dtypes

        named = parse_candidates(",".join(registry.names()) if self.impl is None else self.impl)
        candidates = on_device(with_dtypes(named, self.dtype), parse_device(self.device))
        options = self._options()
        is_kept = bool(self.json or self.markdown or self.html or self.save)
        terminal = Terminal(is_quiet=self.quiet, needs_reader=not is_kept)
        self._prepare_outputs()
        from maxwhisper_cli.compare.board import Board
        from maxwhisper_cli.compare.results import Work
        from maxwhisper_cli.compare.run import find_recordings, run_comparison

        files = list(dict.fromkeys(self.files or _fetched_samples(terminal)))
        self._check_reports(files)
        recordings = find_recordings(files, self.reference or [])
        work = Work(
            self._model(terminal), options, self.runs, self.threads or 0, recordings, self.device
        )
        board = Board([candidate.label for candidate in candidates], files, self.runs, terminal)
        with terminal.live(board):
            comparison = run_comparison(work, candidates, self.model_dir, board)
        self._report(comparison, terminal)

    def _prepare_outputs(self) -> None:
        """Checks that every report can be written, before anything is measured."""
        from maxwhisper_cli.compare.history import history_folder
        from maxwhisper_cli.writers.files import absolute, prepare_folder

        for path in self._reports().values():
            if path is not None:
                prepare_folder(absolute(path).parent, [path])
        if self.save:
            prepare_folder(history_folder(self.history_dir), [])

    def _reports(self) -> dict[str, Path | None]:
        return {"--json": self.json, "--markdown": self.markdown, "--html": self.html}

    def _check_reports(self, files: list[str]) -> None:
        from maxwhisper_cli.compare.references import text_beside
        from maxwhisper_cli.writers.files import check_reports, files_of_model

        texts = [*(self.reference or []), *map(text_beside, files)]
        check_reports(self._reports(), [*map(Path, files), *texts, *files_of_model(self.model)])

    def _options(self) -> TranscribeOptions:
        temperatures = TranscribeOptions().temperatures
        return TranscribeOptions(
            language=self.language,
            temperatures=(self.temperature,) if self.temperature else temperatures,
            beam_size=self.beam_size,
        )

    def _model(self, terminal: Terminal) -> str:
        """Fetches the model if needed, and returns its name."""
        from weights.default_model import DEFAULT_MODEL, choose_default
        from weights.resolve import resolve

        named = self.model or (None if self.files else _SAMPLES_MODEL)
        with terminal.activity(is_wanted_when_piped=True) as activity:
            progress = partial(activity.show_download, named or DEFAULT_MODEL)
            if named is not None:
                resolve(named, model_dir=self.model_dir, offline=self.offline, progress=progress)
                return named
            chosen = choose_default(
                model_dir=self.model_dir,
                offline=self.offline,
                progress=progress,
                on_note=terminal.warning,
            )
        return chosen.name

    def _report(self, comparison: "Comparison", terminal: Terminal) -> None:
        from maxwhisper_cli.compare.history import history_folder, save_comparison
        from maxwhisper_cli.compare.page import write_page
        from maxwhisper_cli.compare.results import ComparisonError, write_comparison
        from maxwhisper_cli.compare.shown import collect_warnings, show_comparison
        from maxwhisper_cli.compare.table import write_markdown

        show_comparison(comparison, terminal, is_wide=self.wide)
        for warning in collect_warnings(comparison):
            terminal.warning(warning)
        writers = (write_comparison, write_markdown, write_page)
        for path, write in zip(self._reports().values(), writers, strict=True):
            if path is not None:
                write(path, comparison)
                terminal.note(f"wrote {path}")
        if self.save:
            path = save_comparison(comparison, history_folder(self.history_dir))
            terminal.note(f"kept as {path}")
        terminal.check_results()
        failed = [row.implementation for row in comparison.rows if row.status == "failed"]
        if failed:
            raise ComparisonError(f"{' and '.join(failed)} failed")
        if not comparison.finished:
            raise ComparisonError("none of these implementations can run here")


def _fetched_samples(terminal: Terminal) -> list[str]:
    from maxwhisper_cli.samples import fetch_samples

    with terminal.activity(is_wanted_when_piped=True) as activity:
        return [str(path) for path in fetch_samples(_SAMPLES, activity.show_download).values()]


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command("compare", cls=UpstreamCommand)(as_command(Compare))
