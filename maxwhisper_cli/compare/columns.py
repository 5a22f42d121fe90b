"""Columns of a comparison: title, meaning, text, and rank for narrow terminals.

Every report uses these columns, so that all of them agree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from maxwhisper_cli.compare.accuracy import ErrorRate
from maxwhisper_cli.compare.results import Figures, Row

Cell = Callable[[Row, Figures], str]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Column:
    """One quantity of a comparison."""

    title: str
    meaning: str
    cell: Cell
    rank: int
    """Order of importance; the highest ranks are dropped first if not all columns fit."""
    is_per_recording: bool = True
    """True if single recordings have it, not only an implementation as a whole."""


def _or_blank(value: Value | None, show: Callable[[Value], str]) -> str:
    return "" if value is None else show(value)


def percent(rate: ErrorRate | None) -> str:
    """Returns `4.35`, or nothing if there is no reference."""
    return _or_blank(rate, lambda value: f"{100 * value.rate:.2f}")


def seconds_with_range(figures: Figures) -> str:
    """Returns `1.23 (1.20-1.31)`, or `1.23` for a single run."""
    median = f"{figures.warm_seconds:.2f}"
    if figures.fastest_seconds == figures.slowest_seconds:
        return median
    return f"{median} ({figures.fastest_seconds:.2f}-{figures.slowest_seconds:.2f})"


def token_agreement(figures: Figures) -> str:
    """Returns `same` if the tokens are those of `cpu`, else `differ`."""
    return _or_blank(figures.is_like_cpu, lambda is_like: "same" if is_like else "differ")


def _compile(row: Row, _: Figures) -> str:
    return _or_blank(row.compile_seconds, lambda s: f"{s:.1f}" if s else "cached")


COLUMNS: tuple[Column, ...] = (
    Column(
        "device",
        "where it runs",
        lambda row, _: row.device or "",
        rank=5,
        is_per_recording=False,
    ),
    Column(
        "dtype",
        "what it computes in",
        lambda row, _: row.dtype or "",
        rank=4,
        is_per_recording=False,
    ),
    Column(
        "load s",
        "importing libraries and placing the weights, once, without compiling",
        lambda row, _: _or_blank(row.load_seconds, lambda s: f"{s:.1f}"),
        rank=9,
        is_per_recording=False,
    ),
    Column(
        "compile s",
        "compiling graphs, once for each machine and model; cached: found compiled",
        _compile,
        rank=10,
        is_per_recording=False,
    ),
    Column("first s", "the first run", lambda _, f: f"{f.first_seconds:.2f}", rank=14),
    Column(
        "warm s",
        "median of the timed runs (fastest-slowest): reading audio to text, all included",
        lambda _, f: seconds_with_range(f),
        rank=1,
    ),
    Column("x real time", "audio by warm time", lambda _, f: f"{f.realtime_factor:.1f}", rank=8),
    Column(
        "x cpu",
        "how many times as fast as cpu",
        lambda _, f: _or_blank(f.speedup, lambda ratio: f"{ratio:.2f}"),
        rank=2,
    ),
    Column(
        "enc ms",
        "encoder, for each window of 30 s",
        lambda _, f: f"{f.encoder_ms_per_window:.0f}",
        rank=11,
    ),
    Column(
        "tok ms",
        "decoder, for each token",
        lambda _, f: f"{f.ms_per_token:.1f}",
        rank=12,
    ),
    Column(
        "tok/s",
        "tokens by decoder time",
        lambda _, f: f"{f.tokens_per_second:.0f}",
        rank=13,
    ),
    Column(
        "MiB",
        "most memory at once",
        lambda row, _: _or_blank(row.peak_memory_mib, lambda mib: f"{mib:.0f}"),
        rank=7,
        is_per_recording=False,
    ),
    Column(
        "GPU MiB",
        "GPU memory that its process holds in the end: CUDA's own, and what the library keeps, "
        "which for MAX is a pool taken beforehand",
        lambda row, _: _or_blank(row.gpu_memory_mib, lambda mib: f"{mib:.0f}"),
        rank=15,
        is_per_recording=False,
    ),
    Column("chars", "characters of text", lambda _, f: str(f.n_characters), rank=17),
    Column("WER %", "word errors against the reference", lambda _, f: percent(f.wer), rank=3),
    Column("CER %", "character errors against it", lambda _, f: percent(f.cer), rank=16),
    Column(
        "WER % cpu",
        "word errors against the text of cpu",
        lambda _, f: percent(f.wer_against_cpu),
        rank=18,
    ),
    Column("tokens", "the same as those of cpu, or not", lambda _, f: token_agreement(f), rank=6),
)
