"""A comparison on the terminal or in a pipe: what was done, the tables, the transcripts."""

from rich.text import Text

from maxwhisper_cli.compare.results import Comparison, Work
from maxwhisper_cli.compare.table import recording_lines, summary_lines
from maxwhisper_cli.compare.transcripts import (
    language_of,
    marked_lines,
    side_by_side,
    versions_of,
)
from maxwhisper_cli.console import Terminal


def show_comparison(comparison: Comparison, terminal: Terminal, *, is_wide: bool) -> None:
    """Prints all of it."""
    width = None if is_wide else terminal.width
    terminal.styled_line(Text(described(comparison), style="dim"))
    terminal.line("")
    for line in summary_lines(comparison, width):
        terminal.styled_line(line)
    if not comparison.finished:
        return
    for index, recording in enumerate(comparison.work.recordings):
        terminal.line("")
        seconds = comparison.finished[0].recordings[index].figures.audio_seconds
        terminal.styled_line(Text(f"{recording.name}, {seconds:.1f} s", style="bold cyan"))
        if len(comparison.work.recordings) > 1:
            for line in recording_lines(comparison, index, width):
                terminal.styled_line(line)
        terminal.line("")
        _show_transcripts(comparison, index, terminal)


def warnings_of(comparison: Comparison) -> list[str]:
    """What a reader of the figures must know, each thing once."""
    machine = comparison.machine
    found = []
    if machine.is_busy:
        found.append(
            f"the machine was busy before this began (load {machine.load_average:.1f} on "
            f"{machine.n_cpus} processors): times mean little"
        )
    for row in comparison.finished:
        found.extend(f"{row.implementation}: {warning}" for warning in row.warnings)
        for recording, result in zip(comparison.work.recordings, row.recordings, strict=True):
            found.extend(result.measurement.warnings)
            if not result.measurement.is_repeatable:
                found.append(
                    f"{row.implementation} did not give the same tokens in every run of "
                    f"{recording.name}"
                )
            if result.first_difference is not None:
                found.append(
                    f"{row.implementation} differs from cpu in {recording.name} at "
                    f"{result.first_difference}"
                )
    return list(dict.fromkeys(found))


def described(comparison: Comparison) -> str:
    """Model, options and machine in a line."""
    machine, work = comparison.machine, comparison.work
    places = [machine.cpu, f"{machine.n_cpus} processors", *machine.gpus]
    return f"{work.model}, {search_of(work)}, {runs_of(work)}; {', '.join(places)}"


def search_of(work: Work) -> str:
    """How tokens were chosen."""
    options = work.options
    if options.temperatures[0] > 0:
        return f"temperature {options.temperatures[0]:g}"
    return f"beam {options.beam_size}" if options.beam_size else "greedy"


def runs_of(work: Work) -> str:
    """How often, and on how many threads."""
    threads = f", {work.n_threads} threads" if work.n_threads else ""
    return f"{work.n_runs} run{'s' * (work.n_runs > 1)} after a warm-up{threads}"


def _show_transcripts(comparison: Comparison, index: int, terminal: Terminal) -> None:
    versions, language = versions_of(comparison, index), language_of(comparison, index)
    if terminal.is_interactive:
        terminal.show(side_by_side(versions, language, terminal.width))
        return
    for version in versions:
        terminal.line(f"{', '.join(version.names)}: {marked_lines(version, language)}")
