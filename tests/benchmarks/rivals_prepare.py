"""What the rivals are measured on: tiny.en in the format of each, and two clips as samples.

Run by `rivals.py` in a process of its own, so that torch stays out of the parent. All formats are
written from, or are, the same weights: those of the installed package.
"""

import argparse
from pathlib import Path

import numpy as np

from maxwhisper_cli.samples import fetch_samples
from maxwhisper_cli.transcription.audio import SAMPLE_RATE, open_audio
from tests.benchmarks.ggml import write_ggml
from tests.benchmarks.measure import Samples
from tests.support.checkpoints import write_openai
from weights.resolve import load

MODEL = "tiny.en"
GAP_SAMPLES = SAMPLE_RATE // 2


def repeated(samples: Samples, n_times: int) -> Samples:
    """The samples so often, with half a second of silence between."""
    with_gap = np.concatenate([samples, np.zeros(GAP_SAMPLES, np.float32)])
    return np.tile(with_gap, n_times)[:-GAP_SAMPLES]


def main() -> None:
    """Write everything into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=1, help="say the sonnet so often")
    arguments = parser.parse_args()
    folder = arguments.folder
    checkpoint = load(MODEL, offline=True)
    write_openai(folder / "weights.pt", checkpoint.dims, dict(checkpoint.tensors))
    write_ggml(folder / "weights.ggml", checkpoint)
    source = checkpoint.source
    (folder / "ctranslate2").symlink_to(source if source.is_dir() else source.parent)
    for name, path in fetch_samples(["jfk", "sonnet"]).items():
        n_times = arguments.times if name == "sonnet" else 1
        with open_audio(path) as audio:
            np.save(folder / f"{name}.npy", repeated(audio.read(), n_times))
        words = path.with_suffix(".txt").read_text(encoding="utf-8")
        (folder / f"{name}.txt").write_text("\n".join([words] * n_times), encoding="utf-8")


if __name__ == "__main__":
    main()
