"""What the rivals are measured on: tiny.en in the format of each, and two clips as samples.

Run by `rivals.py` in a process of its own, so that torch stays out of the parent. All formats are
written from, or are, the same weights: those of the installed package.
"""

import sys
from pathlib import Path

import numpy as np

from maxwhisper_cli.samples import fetch_samples
from maxwhisper_cli.transcription.audio import open_audio
from tests.benchmarks.ggml import write_ggml
from tests.support.checkpoints import write_openai
from weights.resolve import load

MODEL = "tiny.en"


def main() -> None:
    """Write everything into the folder that is the only argument."""
    folder = Path(sys.argv[1])
    checkpoint = load(MODEL, offline=True)
    write_openai(folder / "weights.pt", checkpoint.dims, dict(checkpoint.tensors))
    write_ggml(folder / "weights.ggml", checkpoint)
    source = checkpoint.source
    (folder / "ctranslate2").symlink_to(source if source.is_dir() else source.parent)
    for name, path in fetch_samples(["jfk", "sonnet"]).items():
        with open_audio(path) as audio:
            np.save(folder / f"{name}.npy", audio.read())
        words = path.with_suffix(".txt").read_text(encoding="utf-8")
        (folder / f"{name}.txt").write_text(words, encoding="utf-8")


if __name__ == "__main__":
    main()
