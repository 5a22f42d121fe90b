"""One measurement in a process of its own: load a contender, transcribe, print the numbers as JSON.

Run by `transcribe_bars.py`. Both sides get the same samples, the same OpenAI checkpoint, the same
number of threads and the same options. The audio is read before the clock starts, since
openai-whisper would need an ffmpeg program for it; mel and everything after are measured.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
Transcribe = Callable[[Samples, int | None], str]
"""Samples and the number of beams (None: greedy) to text."""


def load_whisper(weights: Path, n_threads: int) -> Transcribe:
    """OpenAI's own package."""
    import torch
    import whisper

    torch.set_num_threads(n_threads)
    model = whisper.load_model(str(weights), device="cpu")

    def transcribe(samples: Samples, beam_size: int | None) -> str:
        result = whisper.transcribe(
            model, samples, temperature=0.0, beam_size=beam_size, fp16=False
        )
        return str(result["text"])

    return transcribe


def load_ours(contender: str, weights: Path, n_threads: int) -> Transcribe:
    """An implementation of this project, by its name or as NAME:DTYPE; float32 else."""
    import maxwhisper_cli

    impl, _, dtype = contender.partition(":")
    model = maxwhisper_cli.load(str(weights), impl, dtype=dtype or "float32", n_threads=n_threads)

    def transcribe(samples: Samples, beam_size: int | None) -> str:
        options = maxwhisper_cli.TranscribeOptions(temperatures=(0.0,), beam_size=beam_size)
        return model.transcribe(samples, options).text

    return transcribe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", help="whisper, or the name of an implementation")
    parser.add_argument("weights", type=Path, help="an OpenAI checkpoint")
    parser.add_argument("samples", type=Path, help="mono samples at 16 kHz, .npy")
    parser.add_argument("--beam-size", type=int)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    samples: Samples = np.load(arguments.samples)

    begin = time.perf_counter()
    if arguments.contender == "whisper":
        transcribe = load_whisper(arguments.weights, arguments.threads)
    else:
        transcribe = load_ours(arguments.contender, arguments.weights, arguments.threads)
    loaded = time.perf_counter()
    text = transcribe(samples, arguments.beam_size)
    done = time.perf_counter()

    numbers = {
        "load_seconds": loaded - begin,
        "transcribe_seconds": done - loaded,
        # In KiB on Linux. A process begins with its parent's peak, so the parent is kept small.
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "text": text,
    }
    json.dump(numbers, sys.stdout)


if __name__ == "__main__":
    main()
