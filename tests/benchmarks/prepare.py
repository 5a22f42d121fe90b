"""Inputs of the benchmark: a checkpoint of tiny.en, 160 s of real speech, and a short file.

Run by `bench.py` in a process of its own, so that torch stays out of the parent.
"""

import argparse
from pathlib import Path

import numpy as np

from maxwhisper_cli.audio.reader import SAMPLE_RATE, open_audio
from maxwhisper_cli.samples import fetch_samples
from tests.benchmarks.rivals_prepare import joined
from tests.support.checkpoints import write_openai
from weights.resolve import load

MODEL = "tiny.en"
N_TIMES = 3


def main() -> None:
    """Writes all three into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, help="keep only so much of the long clip")
    arguments = parser.parse_args()
    folder = arguments.folder
    checkpoint = load(MODEL, model_dir=None, offline=True, progress=None)
    write_openai(folder / "weights.pt", checkpoint.dims, dict(checkpoint.tensors))

    samples = fetch_samples(["jfk", "sonnet"])
    (folder / "jfk.wav").symlink_to(samples["jfk"])
    with open_audio(samples["sonnet"]) as audio:
        sonnet = audio.read()
    clip = joined([sonnet] * N_TIMES)
    end = None if arguments.seconds is None else int(arguments.seconds * SAMPLE_RATE)
    np.save(folder / "samples.npy", clip[:end])


if __name__ == "__main__":
    main()
