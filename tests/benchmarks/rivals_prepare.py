"""Inputs of the rivals: tiny.en in the format of each, and two clips as samples.

Run by `rivals.py` in a process of its own, so that torch stays out of the parent. All formats are
written from, or are, the same weights: those of the installed package.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maxwhisper_cli.audio.reader import SAMPLE_RATE, open_audio
from maxwhisper_cli.samples import fetch_samples
from tests.benchmarks.measure import Samples
from tests.support.checkpoints import write_openai
from tests.support.ggml import write_ggml
from weights.resolve import load

MODEL = "tiny.en"
GAP_SAMPLES = SAMPLE_RATE // 2
LONG = ["two-channels", "sonnet", "two-channels"]
"""160 s in which neither openai-whisper nor `full-max` repeats itself, as on three sonnets."""


def joined(recordings: Sequence[Samples]) -> Samples:
    """Recordings one after the other, with half a second of silence between."""
    gap = np.zeros(GAP_SAMPLES, np.float32)
    parts = [part for samples in recordings for part in (gap, samples)]
    return np.concatenate(parts[1:])


def main() -> None:
    """Writes everything into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--long", action="store_true", help="160 s instead of the sonnet")
    arguments = parser.parse_args()
    folder = arguments.folder
    checkpoint = load(MODEL, offline=True)
    write_openai(folder / "weights.pt", checkpoint.dims, dict(checkpoint.tensors))
    write_ggml(folder / "weights.ggml", checkpoint)
    source = checkpoint.source
    (folder / "ctranslate2").symlink_to(source if source.is_dir() else source.parent)
    clips = {"jfk": ["jfk"], **({"long": LONG} if arguments.long else {"sonnet": ["sonnet"]})}
    paths = fetch_samples(sorted({name for names in clips.values() for name in names}))
    for clip, names in clips.items():
        recordings, words = [], []
        for name in names:
            with open_audio(paths[name]) as audio:
                recordings.append(audio.read())
            words.append(paths[name].with_suffix(".txt").read_text(encoding="utf-8"))
        np.save(folder / f"{clip}.npy", joined(recordings))
        (folder / f"{clip}.txt").write_text("\n".join(words), encoding="utf-8")


if __name__ == "__main__":
    main()
