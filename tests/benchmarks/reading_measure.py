"""CPU seconds and seconds of one reader for each recording of a folder, as JSON."""

import argparse
import gc
import importlib.util
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.fifo import AudioFifo

from maxwhisper_cli.audio.reader import SAMPLE_RATE, open_audio
from tests.benchmarks.reading_bars import ALL_THREADS, ONE_THREAD, OURS, THEIRS

N_READS = 3
GROUPED_SAMPLES = 500_000


def main() -> None:
    """Prints the least of several reads, of which the first is left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=(OURS, THEIRS, ONE_THREAD, ALL_THREADS))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    read = their_reader() if arguments.reader == THEIRS else read_ours
    if arguments.reader == ONE_THREAD:
        read = partial(read_ours, n_threads=1)
    seconds = {}
    for path in sorted(arguments.folder.iterdir()):
        reads = [cpu_and_wall_seconds(read, path) for _ in range(1 + N_READS)]
        seconds[path.name] = [min(times) for times in zip(*reads, strict=True)]
    print(json.dumps(seconds))  # noqa: T201


def cpu_and_wall_seconds(read: Callable[[Path], np.ndarray], path: Path) -> tuple[float, float]:
    """Times one reading: CPU seconds of all threads together, and seconds."""
    begin, wall_begin = time.process_time(), time.perf_counter()
    samples = read(path)
    seconds = time.process_time() - begin, time.perf_counter() - wall_begin
    assert samples.dtype == np.float32
    assert len(samples) > SAMPLE_RATE
    return seconds


def read_ours(path: Path, n_threads: int = 0) -> np.ndarray:
    """Reads as `transcribe` does; 0 is as many threads as can run at a time."""
    with open_audio(path) as audio:
        audio.n_threads = n_threads
        return audio.read()


def their_reader() -> Callable[[Path], np.ndarray]:
    """Returns faster-whisper's own where it is installed, else the same steps."""
    if importlib.util.find_spec("faster_whisper") is None:
        return read_in_groups
    from faster_whisper.audio import decode_audio

    return lambda path: np.asarray(decode_audio(str(path)))


def read_in_groups(path: Path) -> np.ndarray:
    """Decodes with PyAV, joins frames in a fifo, and lets FFmpeg resample to 16 bits at 16 kHz."""
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    fifo = AudioFifo()
    pieces: list[np.ndarray] = []

    def resample(frame: Any) -> None:
        pieces.extend([each.to_ndarray()[0] for each in resampler.resample(frame)])

    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            frame.pts = None
            fifo.write(frame)
            if fifo.samples >= GROUPED_SAMPLES:
                resample(fifo.read())
    if fifo.samples:
        resample(fifo.read())
    resample(None)
    gc.collect()  # as theirs does
    return np.concatenate(pieces).astype(np.float32) / 32768.0


if __name__ == "__main__":
    main()
