"""A comparison as data: work, machine and results; also the schema of saved JSON.

Everything that a report shows is a field here, so a saved comparison can be shown again.
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
    """A comparison cannot be made, or a saved one cannot be read."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, with its reference text if that is known."""

    file: str
    reference: str | None
    reference_file: str | None = None
    """File of the reference."""
    reference_warning: str | None = None
    """Warning about the reference, or why there is none."""

    @property
    def name(self) -> str:
        """File name without its folder."""
        return Path(self.file).name

    @property
    def reference_name(self) -> str:
        """Name of the reference in reports, with its file."""
        file = self.reference_file
        return "reference" if file is None else f"reference {Path(file).name}"


@dataclass(frozen=True, slots=True)
class Work:
    """Work of every implementation, the same for all."""

    model: str
    options: TranscribeOptions
    n_runs: int
    n_threads: int
    """CPU threads; 0 is each library's default."""
    recordings: tuple[Recording, ...]
    device: str | None = None
    """Device of the implementations that support it; None is each one's default."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Times and accuracy of one implementation, for a recording or for all of them."""

    audio_seconds: float
    first_seconds: float
    """Seconds of the warm-up run."""
    warm_seconds: float
    """Median seconds of the timed runs."""
    fastest_seconds: float
    slowest_seconds: float
    realtime_factor: float
    """Seconds of audio over warm seconds."""
    speedup: float | None
    """Warm seconds of `cpu` over these; None without `cpu`."""
    encoder_ms_per_window: float
    ms_per_token: float
    tokens_per_second: float
    n_characters: int
    wer: ErrorRate | None
    """Word error rate against the reference; None without one."""
    cer: ErrorRate | None
    wer_against_cpu: ErrorRate | None
    is_like_cpu: bool | None
    """True if all tokens are those of `cpu`."""


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """Result of one implementation on one recording."""

    measurement: Measurement
    figures: Figures
    first_difference: str | None
    """Description of the first token that differs from `cpu`."""


@dataclass(frozen=True, slots=True)
class Row:
    """Results of one implementation."""

    implementation: str
    """Name, with the dtype if one was given: `full-max:int8`."""
    status: Status
    reason: str | None
    """Reason if the status is not ok; the other fields are then empty."""
    device: str | None = None
    dtype: str | None = None
    load_seconds: float | None = None
    compile_seconds: float | None = None
    """Seconds of compiling; 0 if compiled graphs were found, None if it compiles nothing."""
    peak_memory_mib: float | None = None
    gpu_memory_mib: float | None = None
    """GPU memory of its process at the end."""
    total: Figures | None = None
    warnings: tuple[str, ...] = ()
    """Warnings about loading."""
    recordings: tuple[RecordingResult, ...] = ()
    """Results in the order of the work's recordings."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A whole comparison."""

    schema_version: int
    created: str
    """Start time: ISO 8601, in UTC."""
    maxwhisper: str
    """Version of this program."""
    work: Work
    machine: Machine
    rows: tuple[Row, ...]

    @property
    def finished(self) -> tuple[Row, ...]:
        """Rows of the implementations that finished the work."""
        return tuple(row for row in self.rows if row.status == "ok")


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Writes a comparison as JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode()
    write_atomically(path, text + "\n")


def read_comparison(path: Path) -> Comparison:
    """Reads a file of `write_comparison`.

    Raises:
        ComparisonError: The file cannot be read, or has other content.
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
