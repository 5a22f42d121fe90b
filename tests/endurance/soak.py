"""Soak: mixed work in one process for hours; memory and descriptors stay, texts stay the same.

    python -m tests.endurance.soak [--seconds 7200] [--impl cpu] [--model tiny.en]

A round transcribes recordings in several ways, several at once and streams, and reads damaged ones.
The first two rounds fill caches. Memory may then grow by 2 %, descriptors by none.
"""

import argparse
import gc
import io
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import maxwhisper_cli
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.samples import fetch_samples
from tests.fuzz.audio import case_of, seeds

WARM_ROUNDS = 2
MAX_GROWTH = 0.02
_SECONDS = 4
_N_DAMAGED = 20


@dataclass
class Soak:
    """Measurements by round."""

    memory_kib: list[int] = field(default_factory=list)
    n_descriptors: list[int] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """Growth of memory after the warm rounds, by the lower half of each end, as a fraction."""
        warm = self.memory_kib[WARM_ROUNDS:]
        n_ends = max(1, len(warm) // 4)
        return min(warm[-n_ends:]) / min(warm[:n_ends]) - 1

    def faults(self) -> list[str]:
        """Returns a sentence for each thing that did not stay as it was."""
        found = []
        if self.growth > MAX_GROWTH:
            found.append(f"memory grew by {self.growth:.1%}")
        if self.n_descriptors[-1] > self.n_descriptors[WARM_ROUNDS - 1]:
            found.append(f"descriptors: {self.n_descriptors}")
        if any(texts != self.texts[0] for texts in self.texts):
            found.append("texts differ from the first round's")
        return found


def run_soak(
    model: maxwhisper_cli.Model,
    *,
    seconds: float,
    min_rounds: int = WARM_ROUNDS + 2,
    on_round: Callable[[Soak], None] = lambda _: None,
) -> Soak:
    """Works in rounds for so long."""
    soak, began = Soak(), time.monotonic()
    sounds = [str(path) for path in fetch_samples(["jfk", "sonnet"]).values()]
    corpus = seeds()
    while time.monotonic() - began < seconds or len(soak.texts) < min_rounds:
        soak.texts.append(list(_round(model, sounds, corpus)))
        gc.collect()
        soak.memory_kib.append(_resident_kib())
        soak.n_descriptors.append(len(list(Path("/proc/self/fd").iterdir())))
        soak.seconds = time.monotonic() - began
        on_round(soak)
    return soak


def _round(model: maxwhisper_cli.Model, sounds: list[str], corpus: list[bytes]) -> Iterator[str]:
    """The same work in each round; yields what must be the same too."""
    clips = (0.0, float(_SECONDS))
    greedy = maxwhisper_cli.TranscribeOptions(beam_size=None, clip_timestamps=clips)
    words = maxwhisper_cli.TranscribeOptions(
        beam_size=2, clip_timestamps=clips, word_timestamps=True
    )
    sampled = maxwhisper_cli.TranscribeOptions(
        beam_size=None, clip_timestamps=clips, temperatures=(0.4,), seed=3
    )
    for options in (greedy, words, sampled):
        transcript = model.transcribe(sounds[0], options)
        yield transcript.text
        yield maxwhisper_cli.render(transcript, "json" if options is words else "srt")
    for segment in model.stream(sounds[0], greedy):
        yield segment.text
        break  # a stream that is left early
    for done in model.transcribe_several(sounds, greedy):
        yield f"{done.index} {done.transcript.text if done.transcript else done.error}"
    for index in range(_N_DAMAGED):
        try:
            with open_audio(io.BytesIO(case_of(1, index, corpus))) as audio:
                yield str(len(audio.read()))
        except maxwhisper_cli.MaxWhisperError as error:
            yield type(error).__name__


def _resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("this system does not tell the memory of a process")


def main() -> int:
    """Returns 1 if something did not stay as it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=7200)
    parser.add_argument("--impl", default="cpu")
    parser.add_argument("--model", default="tiny.en")
    given = parser.parse_args()

    def show(soak: Soak) -> None:
        memory, n_open = soak.memory_kib[-1] // 1024, soak.n_descriptors[-1]
        print(f"{len(soak.texts):5} rounds {soak.seconds:6.0f} s {memory:6} MiB {n_open} open")

    import logging

    logging.disable(logging.CRITICAL)
    with maxwhisper_cli.load(given.model, impl=given.impl) as model:
        soak = run_soak(model, seconds=given.seconds, on_round=show)
    faults = soak.faults()
    print(f"growth {soak.growth:+.2%}; {'; '.join(faults) or 'all stayed the same'}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
