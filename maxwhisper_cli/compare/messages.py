"""What the comparing process and its workers say to each other: a job, then lines of JSON.

Only plain data; `worker` says it, `runner` hears it.
"""

from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from maxwhisper_cli.compare.candidates import Candidate
from maxwhisper_cli.transcription.options import TranscribeOptions


@dataclass(frozen=True, slots=True)
class Job:
    """What one worker does: one implementation, all recordings."""

    candidate: Candidate
    model: str
    """A name or path that needs no network any more."""
    files: tuple[str, ...]
    options: TranscribeOptions
    n_runs: int
    """Timed runs of each recording, after one that warms up."""
    n_threads: int = 0
    model_dir: str | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment: when, and what was said."""

    start: float
    """Seconds from the beginning."""
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One recording on one implementation."""

    file: str
    audio_seconds: float
    language: str
    text: str
    segments: tuple[Spoken, ...]
    tokens: tuple[int, ...]
    """Of all segments, timestamps included."""
    first_seconds: float
    """The first run, which warms up."""
    run_seconds: tuple[float, ...]
    """Each further run: reading the file, spectrogram, encoder, decoder, segments."""
    encoder_ms_per_window: float
    ms_per_token: float
    """Decoding time by decoder passes, the one over the prompt and repeated windows included."""
    tokens_per_second: float
    """Decoder passes by decoding time."""
    n_windows: int
    n_passes: int
    """Decoder passes in one run."""
    is_repeatable: bool
    """Whether every run gave the same tokens."""
    warnings: tuple[str, ...] = ()
    """What was odd about the recording."""


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """What takes time now, in words."""

    words: str


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The model is on its device."""

    device: str
    dtype: str
    load_seconds: float
    """Importing libraries and placing the weights, without compiling."""
    compile_seconds: float
    """0 where nothing had to be compiled."""
    runs_compiled: bool
    """Whether it runs compiled graphs; if none were compiled now, they were found."""
    is_multilingual: bool
    n_languages: int
    warnings: tuple[str, ...] = ()
    """What the user should know of how it was loaded."""


class Advanced(msgspec.Struct, frozen=True, tag="advanced"):
    """How far a run has come."""

    file: str
    run: int
    """0 warms up."""
    done_seconds: float
    total_seconds: float


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """All runs of a recording are done."""

    measurement: Measurement


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """All recordings are done."""

    peak_memory_mib: float
    gpu_memory_mib: float | None
    """What this process holds of the GPU after all its work."""


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The worker cannot go on."""

    reason: str
    is_unavailable: bool
    """The implementation cannot run here, as against: it could, and failed."""


Message: TypeAlias = Stage | Loaded | Advanced | Measured | Finished | Stopped
