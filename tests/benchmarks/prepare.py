"""What the benchmark measures on: an OpenAI checkpoint of tiny.en, and 160 s of real speech.

Run by `cpu_vs_whisper.py` in a process of its own, so that torch stays out of the parent.
"""

import sys
from pathlib import Path

import numpy as np

from maxwhisper_cli.samples import fetch_samples
from maxwhisper_cli.transcription.audio import open_audio
from tests.support.checkpoints import write_openai
from weights.resolve import load

MODEL = "tiny.en"
N_TIMES = 3
GAP_SAMPLES = 8000  # half a second at 16 kHz


def main() -> None:
    """Write both into the folder that is the only argument."""
    folder = Path(sys.argv[1])
    checkpoint = load(MODEL, model_dir=None, offline=True, progress=None)
    write_openai(folder / "weights.pt", checkpoint.dims, dict(checkpoint.tensors))

    with open_audio(fetch_samples(["sonnet"])["sonnet"]) as audio:
        sonnet = audio.read()
    with_gap = np.concatenate([sonnet, np.zeros(GAP_SAMPLES, np.float32)])
    np.save(folder / "samples.npy", np.tile(with_gap, N_TIMES)[:-GAP_SAMPLES])


if __name__ == "__main__":
    main()
