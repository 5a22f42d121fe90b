"""A comparison as one HTML page that needs no network and no other file.

`page.html.jinja` has the layout; here the comparison is converted to the texts and numbers that it
shows.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maxwhisper_cli.activity import clock
from maxwhisper_cli.audio.reader import SAMPLE_RATE, open_audio
from maxwhisper_cli.compare.columns import Column, percent
from maxwhisper_cli.compare.differences import Span, separator
from maxwhisper_cli.compare.messages import TimedText
from maxwhisper_cli.compare.results import Comparison, Figures, Row
from maxwhisper_cli.compare.shown import (
    collect_warnings,
    describe_comparison,
    describe_runs,
    describe_search,
)
from maxwhisper_cli.compare.table import nonempty_columns
from maxwhisper_cli.compare.transcripts import Version, language_of, versions_of
from maxwhisper_cli.writers.files import write_atomically
from weights.errors import MaxWhisperError

_MAX_AUDIO_SECONDS = 1800.0
_N_COLOURS = 4


@dataclass(frozen=True, slots=True)
class _Bar:
    name: str
    value: str
    percent: str
    colour: int


@dataclass(frozen=True, slots=True)
class _Chart:
    title: str
    meaning: str
    bars: tuple[_Bar, ...]


@dataclass(frozen=True, slots=True)
class _TableRow:
    name: str
    cells: tuple[str, ...]
    status: str = "ok"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Segment:
    start: float
    end: float
    clock: str
    text: str


@dataclass(frozen=True, slots=True)
class _Version:
    names: str
    parts: tuple[Span, ...]
    segments: tuple[_Segment, ...]


@dataclass(frozen=True, slots=True)
class _Recording:
    name: str
    seconds: str
    language: str
    glue: str
    audio: str | None
    no_audio_reason: str
    versions: tuple[_Version, ...]
    n_open: int
    """Index of the version whose segments are open at first."""


def write_page(path: Path, comparison: Comparison) -> None:
    """Writes the page to a file.

    Raises:
        OutputError: The file cannot be written.
    """
    write_atomically(path, render_page(comparison))


def render_page(comparison: Comparison) -> str:
    """Returns the page as text, with the recordings in it."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    finished = comparison.finished
    seconds = finished[0].total.audio_seconds if finished and finished[0].total else 0.0
    columns = sorted(nonempty_columns(comparison), key=lambda column: column.rank)
    indices = range(len(comparison.work.recordings) if finished else 0)
    return environment.get_template("page.html.jinja").render(
        model=comparison.work.model,
        about=f"{describe_comparison(comparison)}; {comparison.created[:16].replace('T', ' ')} UTC",
        warnings=collect_warnings(comparison),
        charts=_charts(comparison),
        audio=clock(seconds),
        columns=columns,
        rows=[_table_row(row, columns) for row in comparison.rows],
        error_rates=_error_rates(finished),
        recordings=[_recording(comparison, index) for index in indices],
        facts=_facts(comparison),
        packages=[f"{name} {version}" for name, version in comparison.machine.packages.items()],
    )


def _charts(comparison: Comparison) -> list[_Chart]:
    rows = comparison.rows
    if not comparison.finished:
        return []

    def warm(_: Row, figures: Figures) -> float:
        return figures.warm_seconds

    def realtime(_: Row, figures: Figures) -> float:
        return figures.realtime_factor

    def memory(row: Row, _: Figures) -> float:
        return row.peak_memory_mib or 0.0

    return [
        _chart(
            "Time", "seconds for all recordings, warm; shorter is better", rows, warm, "{:.2f} s"
        ),
        _chart("Speed", "times real time; longer is better", rows, realtime, "{:.1f}x"),
        _chart("Memory", "most at once, in MiB; shorter is better", rows, memory, "{:.0f}"),
    ]


def _chart(
    title: str,
    meaning: str,
    rows: Sequence[Row],
    value: Callable[[Row, Figures], float],
    unit: str,
) -> _Chart:
    values = {row.implementation: value(row, row.total) for row in rows if row.total}
    longest = max(values.values()) or 1.0
    colours = {row.implementation: index % _N_COLOURS for index, row in enumerate(rows)}
    bars = (
        _Bar(name, unit.format(number), f"{100 * number / longest:.2f}", colours[name])
        for name, number in values.items()
    )
    return _Chart(title, meaning, tuple(bars))


def _table_row(row: Row, columns: Sequence[Column]) -> _TableRow:
    if row.total is None:
        return _TableRow(row.implementation, (), row.status, row.reason)
    return _TableRow(row.implementation, tuple(c.cell(row, row.total) for c in columns))


def _error_rates(rows: Sequence[Row]) -> list[_TableRow]:
    """Returns a row per implementation with a cell per recording; none without a reference."""

    def cell(figures: Figures) -> str:
        return f"{percent(figures.wer)} ({percent(figures.cer)})" if figures.wer else "no reference"

    if not any(row.total and row.total.wer for row in rows):
        return []
    return [
        _TableRow(
            row.implementation,
            (*(cell(result.figures) for result in row.recordings), cell(row.total)),
        )
        for row in rows
        if row.total
    ]


def _recording(comparison: Comparison, index: int) -> _Recording:
    recording = comparison.work.recordings[index]
    results = {row.implementation: row.recordings[index] for row in comparison.finished}
    language = language_of(comparison, index)

    def segments_of(version: Version) -> tuple[_Segment, ...]:
        first = results.get(version.names[0])
        return tuple(map(_segment, first.measurement.segments)) if first else ()

    def spans_of(version: Version) -> tuple[Span, ...]:
        return version.spans or (Span(version.text, version.text, is_same=True),)

    seconds = next(iter(results.values())).figures.audio_seconds
    audio, no_audio_reason = _embedded(recording.file, seconds)
    versions = tuple(
        _Version(", ".join(version.names), spans_of(version), segments_of(version))
        for version in versions_of(comparison, index)
    )
    return _Recording(
        name=recording.name,
        seconds=clock(seconds),
        language=language,
        glue=separator(language),
        audio=audio,
        no_audio_reason=no_audio_reason,
        versions=versions,
        n_open=int(recording.reference is not None),
    )


def _segment(spoken: TimedText) -> _Segment:
    minutes, seconds = divmod(spoken.start, 60)
    return _Segment(spoken.start, spoken.end, f"{int(minutes)}:{seconds:05.2f}", spoken.text)


def _embedded(file: str, seconds: float) -> tuple[str | None, str]:
    """Returns the recording as a data URL that every browser plays, or the reason against it."""
    import soundfile

    if seconds > _MAX_AUDIO_SECONDS:
        return None, f"it is longer than {clock(_MAX_AUDIO_SECONDS)}"
    data = io.BytesIO()
    try:
        with (
            open_audio(file) as audio,
            soundfile.SoundFile(data, "w", SAMPLE_RATE, 1, format="MP3") as compressed,
        ):
            for block in audio:
                compressed.write(block)
    except (MaxWhisperError, soundfile.SoundFileError) as error:
        return None, str(error)
    return f"data:audio/mpeg;base64,{base64.b64encode(data.getvalue()).decode()}", ""


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    machine, work = comparison.machine, comparison.work
    versions = ("maxwhisper", "openai-whisper", "torch", "max", "numpy")
    installed = [
        f"{name} {machine.packages[name]}" for name in versions if name in machine.packages
    ]
    return [
        ("Each implementation", "in a process of its own, one after the other"),
        ("Runs", describe_runs(work)),
        ("Decoding", f"{describe_search(work)}, the same options for all"),
        ("Processor", f"{machine.cpu}, {machine.n_cpus} in use"),
        ("GPU", ", ".join(machine.gpus) or "none"),
        ("Memory", f"{machine.memory_mib / 1024:.0f} GiB"),
        ("System", f"{machine.system}, Python {machine.python}"),
        ("Load before", f"{machine.load_average:.1f} on {machine.n_cpus} processors"),
        ("Versions", ", ".join(installed)),
    ]
