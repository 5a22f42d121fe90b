"""A comparison on the terminal or in a pipe: description, tables and transcripts."""

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
    """Prints description, tables and transcripts."""
    width = None if is_wide else terminal.width
    terminal.styled_line(Text(describe_comparison(comparison), style="dim"))
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


def collect_warnings(comparison: Comparison) -> list[str]:
    """Returns the warnings of a comparison, each once."""
    machine = comparison.machine
    warnings = []
    if machine.is_busy:
        warnings.append(
            f"the machine was busy before this began (load {machine.load_average:.1f} on "
            f"{machine.n_cpus} processors): times mean little"
        )
    recordings = comparison.work.recordings
    warnings += [each.reference_warning for each in recordings if each.reference_warning]
    for row in comparison.finished:
        warnings.extend(f"{row.implementation}: {warning}" for warning in row.warnings)
        for recording, result in zip(comparison.work.recordings, row.recordings, strict=True):
            warnings.extend(result.measurement.warnings)
            if not result.measurement.is_repeatable:
                warnings.append(
                    f"{row.implementation} did not give the same tokens in every run of "
                    f"{recording.name}"
                )
            if result.first_difference is not None:
                warnings.append(
                    f"{row.implementation} differs from cpu in {recording.name} at "
                    f"{result.first_difference}"
                )
    return list(dict.fromkeys(warnings))


def describe_comparison(comparison: Comparison) -> str:
    """Returns model, options and machine in one line."""
    machine, work = comparison.machine, comparison.work
    hardware = [machine.cpu, f"{machine.n_cpus} processors", *machine.gpus]
    return f"{work.model}, {describe_search(work)}, {describe_runs(work)}; {', '.join(hardware)}"


def describe_search(work: Work) -> str:
    """Returns the search method: `greedy`, `beam 5` or `temperature 0.5`."""
    options = work.options
    if options.temperatures[0] > 0:
        return f"temperature {options.temperatures[0]:g}"
    return f"beam {options.beam_size}" if options.beam_size else "greedy"


def describe_runs(work: Work) -> str:
    """Returns the number of runs and of threads."""
    threads = f", {work.n_threads} threads" if work.n_threads else ""
    return f"{work.n_runs} run{'s' * (work.n_runs > 1)} after a warm-up{threads}"


def _show_transcripts(comparison: Comparison, index: int, terminal: Terminal) -> None:
    versions, language = versions_of(comparison, index), language_of(comparison, index)
    if terminal.is_interactive:
        terminal.show(side_by_side(versions, language, terminal.width))
        return
    for version in versions:
        terminal.line(f"{', '.join(version.names)}: {marked_lines(version, language)}")
