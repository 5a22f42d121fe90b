"""A comparison as data: what was asked, where, and what came of it; also the JSON that is kept.

Everything a report shows is a field here, so a kept comparison can be shown again.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from maxwhisper_cli.compare.accuracy import ErrorRate
from maxwhisper_cli.compare.machine import Machine
from maxwhisper_cli.compare.messages import Measurement
from maxwhisper_cli.compare.runner import Status
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.writers.files import write_atomically
from weights.errors import MaxWhisperError

SCHEMA_VERSION = 1


class ComparisonError(MaxWhisperError):
    """A comparison cannot be made, or a kept one cannot be read."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is transcribed, and what is said in it where that is known."""

    file: str
    reference: str | None
    reference_file: str | None = None
    """Where the reference was read."""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return Path(self.file).name

    @property
    def reference_name(self) -> str:
        """What reports call the reference: with its file, so that none is taken unseen."""
        file = self.reference_file
        return "reference" if file is None else f"reference {Path(file).name}"


@dataclass(frozen=True, slots=True)
class Work:
    """What every implementation was asked to do, the same for all."""

    model: str
    options: TranscribeOptions
    n_runs: int
    n_threads: int
    """0 leaves it to each library."""
    recordings: tuple[Recording, ...]
    device: str | None = None
    """Where those run that can; None leaves it to each."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Times and accuracy of one implementation, for a recording or for all of them."""

    audio_seconds: float
    first_seconds: float
    """The run that warms up."""
    warm_seconds: float
    """Median of the timed runs."""
    fastest_seconds: float
    slowest_seconds: float
    realtime_factor: float
    """Seconds of audio by warm seconds."""
    speedup: float | None
    """Warm seconds of `cpu` by these; None where there is no `cpu`."""
    encoder_ms_per_window: float
    ms_per_token: float
    tokens_per_second: float
    n_characters: int
    wer: ErrorRate | None
    """Against the reference, where there is one."""
    cer: ErrorRate | None
    wer_against_cpu: ErrorRate | None
    is_like_cpu: bool | None
    """Whether all tokens are those of `cpu`."""


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """One implementation on one recording."""

    measurement: Measurement
    figures: Figures
    first_difference: str | None
    """Where its tokens first differ from those of `cpu`, in words."""


@dataclass(frozen=True, slots=True)
class Row:
    """One implementation."""

    implementation: str
    """Its name, with the dtype where one was asked for: `full-max:int8`."""
    status: Status
    reason: str | None
    """Why it is not ok; then there is nothing else."""
    device: str | None = None
    dtype: str | None = None
    load_seconds: float | None = None
    compile_seconds: float | None = None
    """0 where compiled graphs were found; None where nothing is ever compiled."""
    peak_memory_mib: float | None = None
    gpu_memory_mib: float | None = None
    """Held by its process after all the work."""
    total: Figures | None = None
    warnings: tuple[str, ...] = ()
    """What was odd about loading it."""
    recordings: tuple[RecordingResult, ...] = ()
    """In the order of the work's recordings."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of it."""

    schema_version: int
    created: str
    """When it began: ISO 8601, in UTC."""
    maxwhisper: str
    """Version of this program."""
    work: Work
    machine: Machine
    rows: tuple[Row, ...]

    @property
    def finished(self) -> tuple[Row, ...]:
        """The implementations that did the work."""
        return tuple(row for row in self.rows if row.status == "ok")


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Writes it as JSON.

    Raises:
        OutputError: it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode()
    write_atomically(path, text + "\n")


def read_comparison(path: Path) -> Comparison:
    """Reads what `write_comparison` wrote.

    Raises:
        ComparisonError: it cannot be read, or is something else.
    """
    try:
        data = path.read_bytes()
        version = msgspec.json.decode(data, type=_Versioned).schema_version
        if version != SCHEMA_VERSION:
            raise ComparisonError(
                f"{path} has schema version {version}; this program reads {SCHEMA_VERSION}"
            )
        return msgspec.json.decode(data, type=Comparison)
    except OSError as error:
        raise ComparisonError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ComparisonError(f"{path} is no comparison: {error}") from error


@dataclass(frozen=True, slots=True)
class _Versioned:
    schema_version: int
