"""One contender in a process of its own: load, transcribe each clip, print numbers as JSON.

Run by `rivals.py`. All get the same samples, weights, threads and options: English, greedy, no
second try at a higher temperature, with timestamps, each window told the text before it. A first
pass over the clips warms up; the second is timed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maxwhisper_cli.compare.machine import peak_memory_mib
from tests.benchmarks.measure import Samples, load_ours, load_whisper

Transcribe = Callable[[Samples], str]


def load_faster_whisper(folder: Path, n_threads: int, compute_type: str) -> Transcribe:
    """CTranslate2's model through faster-whisper."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(folder / "ctranslate2"),
        device="cpu",
        compute_type=compute_type,
        cpu_threads=n_threads,
        local_files_only=True,
    )

    def transcribe(samples: Samples) -> str:
        segments, _ = model.transcribe(
            samples,
            language="en",
            beam_size=1,
            best_of=1,
            temperature=0.0,
            condition_on_previous_text=True,
            without_timestamps=False,
            vad_filter=False,
        )
        return "".join(segment.text for segment in segments)

    return transcribe


def load_whisper_cpp(folder: Path, n_threads: int) -> Transcribe:
    """whisper.cpp through pywhispercpp."""
    from pywhispercpp.model import Model

    model = Model(
        str(folder / "weights.ggml"),
        redirect_whispercpp_logs_to=None,
        n_threads=n_threads,
        language="en",
        temperature=0.0,
        temperature_inc=0.0,
        no_context=False,
        no_timestamps=False,
        suppress_blank=True,
        suppress_nst=True,
        print_progress=False,
        print_realtime=False,
        print_timestamps=False,
        greedy={"best_of": 1},
    )

    def transcribe(samples: Samples) -> str:
        return " ".join(segment.text.strip() for segment in model.transcribe(samples))

    return transcribe


def load_contender(name: str, folder: Path, n_threads: int) -> Transcribe:
    """A contender by the name that `rivals.py` calls it."""
    weights = folder / "weights.pt"
    if name.startswith("faster-whisper"):
        return load_faster_whisper(folder, n_threads, name.rpartition(" ")[2])
    if name == "whisper.cpp":
        return load_whisper_cpp(folder, n_threads)
    if name == "openai-whisper":
        theirs = load_whisper(weights, n_threads)
        return lambda samples: theirs(samples, None)
    ours = load_ours(name, weights, n_threads)
    return lambda samples: ours(samples, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender")
    parser.add_argument("folder", type=Path, help="what rivals_prepare.py wrote")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    clips = {path.stem: np.load(path) for path in sorted(arguments.folder.glob("*.npy"))}

    begin = time.perf_counter()
    transcribe = load_contender(arguments.contender, arguments.folder, arguments.threads)
    load_seconds = time.perf_counter() - begin
    seconds, texts = {}, {}
    for is_timed in (False, True):
        for name, samples in clips.items():
            begin = time.perf_counter()
            text = transcribe(samples)
            if is_timed:
                seconds[name], texts[name] = time.perf_counter() - begin, text.strip()

    numbers = {
        "load_seconds": load_seconds,
        "seconds": seconds,
        "peak_mib": peak_memory_mib(),
        "texts": texts,
    }
    json.dump(numbers, sys.stdout)


if __name__ == "__main__":
    main()
