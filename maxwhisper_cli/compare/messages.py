"""Messages between `runner` and its workers: a job, then lines of JSON.

Only plain data; `runner` sends the job, `worker` sends everything else.
"""

from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from maxwhisper_cli.compare.candidates import Candidate
from maxwhisper_cli.transcription.options import TranscribeOptions


@dataclass(frozen=True, slots=True)
class Job:
    """Job of one worker: one implementation, all recordings."""

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
class TimedText:
    """Text of a segment, with its times in seconds."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One recording on one implementation."""

    file: str
    audio_seconds: float
    language: str
    text: str
    segments: tuple[TimedText, ...]
    tokens: tuple[int, ...]
    """Tokens of all segments, timestamps included."""
    first_seconds: float
    """Seconds of the first run, which warms up."""
    run_seconds: tuple[float, ...]
    """Seconds of each further run: reading the file, spectrogram, encoder, decoder, segments."""
    encoder_ms_per_window: float
    ms_per_token: float
    """Decoding time over decoder passes, prompts and repeated windows included."""
    tokens_per_second: float
    """Decoder passes over decoding time."""
    n_windows: int
    n_passes: int
    """Decoder passes in one run."""
    is_repeatable: bool
    """True if every run gave the same tokens."""
    warnings: tuple[str, ...] = ()
    """Warnings about the recording."""


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """Current activity of the worker, in words."""

    words: str


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """Message that the model is on its device."""

    device: str
    dtype: str
    load_seconds: float
    """Seconds of imports and of loading weights, without compiling."""
    compile_seconds: float
    """Seconds of compiling; 0 if nothing had to be compiled."""
    runs_compiled: bool
    """True if the implementation runs compiled graphs, from the cache or compiled now."""
    is_multilingual: bool
    n_languages: int
    warnings: tuple[str, ...] = ()
    """Warnings about loading."""


class Advanced(msgspec.Struct, frozen=True, tag="advanced"):
    """Progress of a run."""

    file: str
    run: int
    """Number of the run; 0 is the warm-up."""
    done_seconds: float
    total_seconds: float


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """Message that all runs of a recording are done."""

    measurement: Measurement


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """Message that all recordings are done."""

    peak_memory_mib: float
    gpu_memory_mib: float | None
    """GPU memory of the worker at the end."""


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """Message that the worker cannot continue."""

    reason: str
    is_unavailable: bool
    """True if the implementation cannot run here; False if it failed while running."""


Message: TypeAlias = Stage | Loaded | Advanced | Measured | Finished | Stopped
