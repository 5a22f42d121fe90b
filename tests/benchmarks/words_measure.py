"""The cost of word times in a process of its own: a clip with and without, in turns, as JSON.

Run by `word_bars.py`. The first run of each counts for nothing: it fills caches.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import maxwhisper_cli

PLAIN = maxwhisper_cli.TranscribeOptions(temperatures=(0.0,), beam_size=None, language="en")
OPTIONS = {"plain": PLAIN, "words": replace(PLAIN, word_timestamps=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", help="name of an implementation, or NAME:DTYPE")
    parser.add_argument("weights", type=Path, help="an OpenAI checkpoint")
    parser.add_argument("samples", type=Path, help="mono samples at 16 kHz, .npy")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    samples = np.load(arguments.samples)
    impl, _, dtype = arguments.contender.partition(":")
    model = maxwhisper_cli.load(
        str(arguments.weights),
        impl,
        device="cpu",
        dtype=dtype or "float32",
        n_threads=arguments.threads,
    )
    seconds: dict[str, list[float]] = {name: [] for name in OPTIONS}
    for _ in range(arguments.runs + 1):
        for name, options in OPTIONS.items():
            began = time.perf_counter()
            model.transcribe(samples, options)
            seconds[name].append(time.perf_counter() - began)
    json.dump({name: runs[1:] for name, runs in seconds.items()}, sys.stdout)


if __name__ == "__main__":
    main()
