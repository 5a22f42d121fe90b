"""The section `reading`: CPU seconds from a file to samples, beside faster-whisper's reader.

160 s of speech in each format, one process for each reader and round. Where faster-whisper is not
installed its steps are taken as they are published: PyAV, a fifo, and FFmpeg's resampler. It reads
16-bit samples, and its filter is shorter than ours.

Then one thread beside all of the processor's: what several cores save in time, and cost in CPU
seconds.
"""

import json
from pathlib import Path

from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import python
from tests.benchmarks.rounds import take_turns

OURS = "maxwhisper"
THEIRS = "faster-whisper"
ONE_THREAD = "one thread"
ALL_THREADS = "all threads"
RATIO_BAR = 1.0
THREADS_BAR = 1.1
"""Most CPU seconds of all threads, in those of one."""
WITHOUT_BAR = frozenset({".opus"})
"""Formats with another decoder than theirs: libopus, which is slower than FFmpeg's own."""
MIN_SPEED = {"44.1 kHz stereo.mp3": 700}
"""Seconds of sound in one CPU second, by recording."""
CLIP_SAMPLES = "samples.npy"


def reading_rows(setting: Setting) -> list[Row]:
    """Measures all recordings in turns."""
    folder = Path(setting.folder) / "reading"
    folder.mkdir()
    (folder / CLIP_SAMPLES).symlink_to(Path(setting.folder) / CLIP_SAMPLES)
    python("reading_prepare.py", str(folder))
    (folder / CLIP_SAMPLES).unlink()

    def measure(name: str) -> dict[str, list[float]]:
        seconds: dict[str, list[float]] = json.loads(
            python("reading_measure.py", name, str(folder))
        )
        return seconds

    def describe(run: dict[str, list[float]]) -> str:
        cpu, wall = map(sum, zip(*run.values(), strict=True))
        return f"{cpu:.2f} CPU s and {wall:.2f} s in all"

    readers = take_turns(setting, "reading", (THEIRS, OURS), measure, describe)
    threads = take_turns(setting, "reading", (ONE_THREAD, ALL_THREADS), measure, describe)
    return compare(readers, clip_seconds(Path(setting.folder))) + compare_threads(threads)


def clip_seconds(folder: Path) -> float:
    """Returns the length of the clip."""
    import numpy as np

    from maxwhisper_cli.audio.reader import SAMPLE_RATE

    return float(len(np.load(folder / CLIP_SAMPLES, mmap_mode="r")) / SAMPLE_RATE)


def compare(runs: dict[str, list[dict[str, list[float]]]], seconds: float) -> list[Row]:
    """Returns a ratio for each recording, and a limit where there is one of its own."""
    rows = []
    for recording in runs[OURS][0]:
        ours, theirs = ([run[recording][0] for run in runs[name]] for name in (OURS, THEIRS))
        bar = None if Path(recording).suffix in WITHOUT_BAR else RATIO_BAR
        rows.append(Row("reading", recording, "CPU s", OURS, ours, bar, THEIRS, theirs))
        if recording in MIN_SPEED:
            most = seconds / MIN_SPEED[recording]
            rows.append(Row("reading", recording, "CPU s", OURS, ours, most))
    return rows


def compare_threads(runs: dict[str, list[dict[str, list[float]]]]) -> list[Row]:
    """Returns the ratios of CPU seconds and of time for each recording."""
    return [
        Row(
            "reading",
            recording,
            unit,
            ALL_THREADS,
            [run[recording][column] for run in runs[ALL_THREADS]],
            bar,
            ONE_THREAD,
            [run[recording][column] for run in runs[ONE_THREAD]],
        )
        for recording in runs[ONE_THREAD][0]
        for column, unit, bar in ((0, "CPU s", THREADS_BAR), (1, "s", None))
    ]
