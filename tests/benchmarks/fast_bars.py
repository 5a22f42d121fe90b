"""The section `fast`: what `auto` is worth beside the programs that people use on a processor.

160 s of speech and a short file, greedy, in one process for each contender: time, word error rate
and peak memory. The texts need not agree, since dtypes differ; that is why the error rate is told.
"""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from maxwhisper_cli.compare.accuracy import accuracy
from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import python
from tests.benchmarks.rounds import take_turns

OURS = "full-max:auto"
WHISPER = "openai-whisper"
FASTER_WHISPER = "faster-whisper int8"
CLIPS = {"long": "160 s", "jfk": "jfk"}
TIME_BARS = (
    ("long", FASTER_WHISPER, 0.5),
    ("long", WHISPER, 0.3),
    ("jfk", FASTER_WHISPER, 0.5),
    ("jfk", WHISPER, None),
)
MEMORY_BAR = 0.6


@dataclass(frozen=True, slots=True)
class Measured:
    """One process of one contender."""

    seconds: dict[str, float]
    """Seconds of each clip."""
    wer_percent: dict[str, float]
    peak_mib: float


def fast_rows(setting: Setting) -> list[Row]:
    if "full-max" not in setting.available:
        return []
    contenders = [WHISPER, OURS]
    if importlib.util.find_spec("faster_whisper") is None:
        setting.console.print("left out: faster-whisper: pip install --group bench")
    else:
        contenders.insert(1, FASTER_WHISPER)
    folder = Path(setting.folder) / "fast"
    folder.mkdir()
    python("rivals_prepare.py", str(folder), "--long")
    return compare(
        take_turns(
            setting,
            "fast",
            contenders,
            lambda name: measure(name, folder, setting.n_threads),
            described,
        )
    )


def measure(name: str, folder: Path, n_threads: int) -> Measured:
    printed = python("rivals_measure.py", name, str(folder), "--threads", str(n_threads))
    numbers = json.loads(printed)
    percent = {}
    for clip, text in numbers["texts"].items():
        wer = accuracy(folder.joinpath(f"{clip}.txt").read_text("utf-8"), text, "en").wer
        assert wer is not None, "the clips have words"
        percent[clip] = 100 * wer.rate
    return Measured(numbers["seconds"], percent, numbers["peak_mib"])


def described(run: Measured) -> str:
    clips = [
        f"{title} in {run.seconds[clip]:.2f} s with {run.wer_percent[clip]:.1f} % wrong"
        for clip, title in CLIPS.items()
    ]
    return f"{', '.join(clips)}, peak {run.peak_mib:.0f} MiB"


def compare(runs: dict[str, list[Measured]]) -> list[Row]:
    """Times for each clip and baseline, word errors, memory."""
    ours = runs[OURS]
    rows = [
        Row(
            *(CLIPS[clip], "time", "s", OURS, [run.seconds[clip] for run in ours], bar),
            *(baseline, [run.seconds[clip] for run in runs[baseline]]),
        )
        for clip, baseline, bar in TIME_BARS
        if baseline in runs
    ]
    rows += [
        Row(CLIPS[clip], "words wrong", "%", name, [run.wer_percent[clip] for run in done], None)
        for clip in CLIPS
        for name, done in runs.items()
    ]
    peaks = [[run.peak_mib for run in runs[name]] for name in (OURS, WHISPER)]
    return [*rows, Row("fast", "peak memory", "MiB", OURS, peaks[0], MEMORY_BAR, WHISPER, peaks[1])]
