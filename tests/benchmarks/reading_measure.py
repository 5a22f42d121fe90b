"""CPU seconds of one reader for each recording of a folder, as JSON: from the file to samples."""

import argparse
import gc
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.fifo import AudioFifo

from maxwhisper_cli.transcription.audio import SAMPLE_RATE, open_audio
from tests.benchmarks.reading_bars import OURS, THEIRS

N_READS = 3
GROUPED_SAMPLES = 500_000


def main() -> None:
    """Prints the least of several reads, of which the first is left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=(OURS, THEIRS))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    read = read_ours if arguments.reader == OURS else their_reader()
    seconds = {}
    for path in sorted(arguments.folder.iterdir()):
        seconds[path.name] = min(cpu_seconds(read, path) for _ in range(1 + N_READS))
    print(json.dumps(seconds))  # noqa: T201


def cpu_seconds(read: Callable[[Path], np.ndarray], path: Path) -> float:
    """Times one reading, on all threads together."""
    begin = time.process_time()
    samples = read(path)
    seconds = time.process_time() - begin
    assert samples.dtype == np.float32
    assert len(samples) > SAMPLE_RATE
    return seconds


def read_ours(path: Path) -> np.ndarray:
    """Reads as `transcribe` does."""
    with open_audio(path) as audio:
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
