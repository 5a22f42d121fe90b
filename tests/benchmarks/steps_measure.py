"""One implementation in a process of its own: time each decoder step, and the encoder by batch.

Run by `steps.py`. Every step feeds the same token to one hypothesis, from the first position to the
last that the decoder has; what it says does not matter, only how long a step takes as the cache
grows. Prints the times as JSON.
"""

import argparse
import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from statistics import median

import numpy as np

from implementations.implementation import Implementation
from implementations.session import AudioFeatures, FloatArray
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.model import load
from maxwhisper_cli.samples import fetch_samples
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.tokenizer import get_tokenizer

AUTOCAST = "autocast"
N_FRAMES = 3000


def step_seconds(implementation: Implementation, features: AudioFeatures) -> list[float]:
    """The time of each step, from the first after the prompt to the last position."""
    dims = implementation.dims
    tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.n_languages)
    prompt = tokenizer.sot_sequence
    token = np.array(tokenizer.encode(" and")[:1], np.int64)
    seconds = []
    with implementation.start(features, 1) as session:
        session.prefill(prompt, (len(prompt) - 1,))
        for _ in range(dims.n_text_ctx - len(prompt)):
            begin = time.perf_counter()
            session.step(token)
            seconds.append(time.perf_counter() - begin)
    return seconds


def encoder_seconds(implementation: Implementation, mel: FloatArray, n_runs: int) -> float:
    """The median time of a batch, until its features are on the host."""
    times = []
    for _ in range(n_runs + 1):
        begin = time.perf_counter()
        implementation.encode(mel).numpy()
        times.append(time.perf_counter() - begin)
    return median(times[1:])


def autocast() -> AbstractContextManager[object]:
    """PyTorch in bfloat16 where it holds that to be safe."""
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", help="NAME or NAME:DTYPE; cpu:autocast is PyTorch's own")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--batches", type=int, nargs="+", required=True)
    arguments = parser.parse_args()
    path = fetch_samples(["jfk"])["jfk"]
    impl, _, dtype = arguments.contender.partition(":")
    way = autocast() if dtype == AUTOCAST else nullcontext()
    dtype = "float32" if dtype in {"", AUTOCAST} else dtype
    with way, load(arguments.model, impl, dtype=dtype, n_threads=arguments.threads) as model:
        implementation = model.implementation
        n_mels = implementation.dims.n_mels
        with open_audio(path) as audio, MelSpectrogram(audio, n_mels) as spectrogram:
            window = spectrogram.padded_window(0, N_FRAMES)[None]
        features = implementation.encode(window)
        step_seconds(implementation, features)  # warms up
        steps = [step_seconds(implementation, features) for _ in range(arguments.runs)]
        encoder = {
            n: encoder_seconds(implementation, np.repeat(window, n, axis=0), arguments.runs)
            for n in arguments.batches
        }
        numbers = {
            "device": implementation.device,
            "dtype": implementation.dtype,
            "step_seconds": steps,
            "encoder_seconds": encoder,
        }
    json.dump(numbers, sys.stdout)


if __name__ == "__main__":
    main()
