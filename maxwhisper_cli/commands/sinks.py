"""Sinks of transcripts: files, a format on stdout, or lines of JSON.

All is checked before a model is loaded.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from maxwhisper_cli.cli_options import STDOUT
from maxwhisper_cli.cli_reading import SPLIT
from maxwhisper_cli.inputs.input import STDIN, Input
from maxwhisper_cli.inputs.naming import output_names
from maxwhisper_cli.inputs.state import FILE_NAME
from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.writers import DEFAULT_NAME
from maxwhisper_cli.writers.base import Writer
from maxwhisper_cli.writers.files import (
    Outputs,
    absolute,
    check_reports,
    files_of_model,
    plan_outputs,
    prepare_folder,
    refused_outputs,
)
from maxwhisper_cli.writers.jsonl import JsonLines
from maxwhisper_cli.writers.registry import choose_writers
from weights.errors import MaxWhisperError

Stdout: TypeAlias = Writer | JsonLines
"""Format of results on stdout: whole documents in order of input, or lines as files end."""
Sink: TypeAlias = Outputs | Stdout | MaxWhisperError
"""Sink of a transcript: files, or stdout; or the error that prevents it."""


@dataclass(frozen=True, slots=True)
class GivenOutputs:
    """Values of the options that say what is written."""

    output_dir: str
    output_format: list[str] | None
    output_name: str
    is_jsonl: bool
    has_speakers: bool
    """True if the transcripts say who speaks."""
    summary: Path | None = None
    """File that says how each input ended."""

    def sinks(
        self, inputs: Sequence[Input], model: str | None, lists: Sequence[Path] = ()
    ) -> list[tuple[Input, Sink]]:
        """Returns each input with its sink, or with its problem.

        Args:
            inputs: Recordings.
            model: Name or path of the model, whose files may not be replaced.
            lists: Files that name recordings, which may not be replaced.

        Raises:
            MaxWhisperError: Nothing can be read or written, or options contradict each other.
        """
        sinks = iter(self._sinks([each for each in inputs if not each.problem], model, lists))
        found = [(each, each.problem) if each.problem else next(sinks) for each in inputs]
        outputs = [path for _, sink in found if isinstance(sink, Outputs) for path in sink.paths]
        record = Path(self.output_dir) / FILE_NAME
        check_summary(self.summary, inputs, [*files_of_model(model), *lists], [*outputs, record])
        return found

    def _sinks(
        self, inputs: Sequence[Input], model: str | None, lists: Sequence[Path]
    ) -> list[tuple[Input, Sink]]:
        writers = self._writers()
        if self.is_jsonl:
            if self.output_format is not None or self.output_dir != ".":
                raise OptionsError(
                    "--jsonl writes no files: leave out --output-format, --output-dir"
                )
            require_sources(inputs)
            return [(each, JsonLines()) for each in inputs]
        if self.output_dir == STDOUT:
            require_sources(inputs)
            return [(each, _writer_for_stdout(writers, len(inputs))) for each in inputs]
        folder = Path(self.output_dir)
        bases = output_names(inputs) if self.output_name == DEFAULT_NAME else None
        sources = [each.source if each.scheme is None else str(each.path) for each in inputs]
        read = [*files_of_model(model), *lists]
        planned = plan_outputs(sources, writers, folder, self.output_name, read=read, bases=bases)
        require_sources(inputs)
        places = (path.parent for outputs in planned for path in outputs.paths)
        for place in dict.fromkeys([folder, *places]):
            prepare_folder(place)
        refused = refused_outputs(planned)
        if len(refused) == len(planned):
            raise refused[0]
        return [(each, refused.get(i, planned[i])) for i, each in enumerate(inputs)]

    def _writers(self) -> tuple[Writer, ...]:
        writers = choose_writers(self.output_format or ["all"])
        for writer in writers:
            if writer.needs_speakers and not self.has_speakers:
                raise OptionsError(
                    f"{writer.name} says who speaks, which only --channel {SPLIT} tells"
                )
        return writers


def check_summary(
    summary: Path | None,
    inputs: Sequence[Input],
    read: Sequence[Path],
    outputs: Sequence[Path],
) -> None:
    """Checks that a summary can be written, and replaces nothing that is read or written.

    Args:
        summary: The file; None if none is wanted.
        inputs: Recordings.
        read: Other files that are read.
        outputs: Other files that are written.

    Raises:
        MaxWhisperError: It cannot, or does.
    """
    if summary is None:
        return
    recordings = [each.path for each in inputs if each.scheme is None and each.source != STDIN]
    check_reports({"--summary": summary}, [*recordings, *read], outputs)
    prepare_folder(absolute(summary).parent, [summary])


def require_sources(inputs: Sequence[Input]) -> None:
    """Checks that there is something to transcribe, before a model is loaded for it.

    Raises:
        MaxWhisperError: None of the files exists, or standard input is a keyboard or closed.
    """
    sources = [each.source for each in inputs]
    if STDIN in sources and (sys.stdin is None or sys.stdin.isatty()):
        raise MaxWhisperError("- is standard input: pipe a recording into it")
    if any(each.scheme is not None or _may_exist(each) for each in inputs):
        return
    if len(sources) == 1:
        raise MaxWhisperError(f"{sources[0]} does not exist: check its name and folder")
    raise MaxWhisperError(f"none of the {len(sources)} files exists: check their names and folder")


def _may_exist(each: Input) -> bool:
    if each.source == STDIN:
        return True
    try:
        return each.path.exists()
    except (OSError, ValueError):  # opening it raises a better error
        return True


def _writer_for_stdout(writers: tuple[Writer, ...], n_files: int) -> Writer:
    if len(writers) > 1:
        raise OptionsError("stdout takes one format: give -f txt, for instance, with -o -")
    if n_files > 1 and writers[0].name != "txt":
        raise OptionsError(
            f"several files on stdout would make no valid {writers[0].name}; give one, or -f txt"
        )
    return writers[0]
