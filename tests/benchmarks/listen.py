"""Live text of recordings in simulated time: lag of final words, first text, wrong words.

The clock is that of the audio, and each update moves it by the seconds that the model took, counted
by the wall or, with `--clock cpu`, by the processors' time. Nothing waits: a run takes as long as
its updates. A word's lag is the time at which it is final, less the end that it has offline.

    python -m tests.benchmarks.listen --model tiny.en --streams 1,8
"""

import argparse
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from rich.console import Console
from rich.table import Table

import maxwhisper_cli
from implementations.implementation import Implementation
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.compare.accuracy import ErrorRate, accuracy
from maxwhisper_cli.compare.machine import describe_machine
from maxwhisper_cli.listen.options import ListenOptions
from maxwhisper_cli.listen.transcriber import LiveTranscriber
from maxwhisper_cli.samples import fetch_samples, load_manifest, reference_text
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.speech.network_file import load_network
from tests.support.live_clock import Played, play
from weights.audio_context import positions_of

SAMPLES = "jfk,sonnet,two-channels"
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
MAX_LAG, MAX_FIRST, MAX_POINTS = 2.0, 1.0, 1.0
"""Bars of tiny.en: seconds, seconds, and points of the word error rate offline."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording with what is said in it, and what the model says offline."""

    samples: np.ndarray
    reference: str
    text: str
    words: Sequence[tuple[str, float, float]]
    """Offline words with start and end."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a policy over all recordings."""

    lags: Sequence[float]
    firsts: Sequence[float]
    wer: ErrorRate
    offline_wer: ErrorRate
    costs: Sequence[float]

    @property
    def holds(self) -> bool:
        """True if all bars hold."""
        points = 100 * (self.wer.rate - self.offline_wer.rate)
        lag, first = float(np.mean(self.lags)), float(np.mean(self.firsts))
        return lag <= MAX_LAG and first <= MAX_FIRST and points <= MAX_POINTS


def read_recordings(arguments: argparse.Namespace) -> list[Recording]:
    """Reads the samples, and transcribes them offline."""
    names = arguments.samples.split(",")
    paths = fetch_samples(names)
    options = maxwhisper_cli.TranscribeOptions(beam_size=None, word_timestamps=True, language="en")
    texts = {
        sample.name: reference_text(sample) for sample in load_manifest() if sample.name in paths
    }
    found = []
    with maxwhisper_cli.load(
        arguments.model, arguments.impl, dtype=arguments.dtype, n_threads=arguments.threads
    ) as model:
        for name in names:
            sound = open_audio(paths[name]).read()
            transcript = model.transcribe(sound, options)
            words = [word for segment in transcript.segments for word in segment.words or ()]
            timed = [(plain(word.word), word.start, word.end) for word in words]
            found.append(Recording(sound, texts[name], transcript.text, timed))
    return found


def plain(word: str) -> str:
    """Returns a word without marks and capitals."""
    return re.sub(r"[^a-z0-9']", "", word.lower())


def lags_of(stream: Played, recording: Recording) -> list[float]:
    """Returns the lag of each final word that is also said offline."""
    live = [plain(word.word) for _, word in stream.words]
    offline = [word for word, _, _ in recording.words]
    matches = SequenceMatcher(None, offline, live, autojunk=False).get_matching_blocks()
    return [
        stream.words[match.b + index][0] - recording.words[match.a + index][2]
        for match in matches
        for index in range(match.size)
    ]


def measure(
    implementation: Implementation,
    network: VoiceNetwork,
    recordings: Sequence[Recording],
    options: ListenOptions,
    n_streams: int,
    clock: Callable[[], float],
) -> Figures:
    """Plays each recording to so many streams, which begin one after the other within a chunk."""
    lags, firsts, costs = [], [], []
    rates: list[ErrorRate | None] = []
    offline: list[ErrorRate | None] = []
    for recording in recordings:
        delay = options.min_chunk_seconds / n_streams
        streams = [
            Played(LiveTranscriber(implementation, options, network), recording.samples, i * delay)
            for i in range(n_streams)
        ]
        costs += play(implementation, streams, clock)
        for stream in streams:
            lags += lags_of(stream, recording)
            if stream.first_text_seconds is not None:
                firsts.append(stream.first_text_seconds - recording.words[0][1])
            rates.append(accuracy(recording.reference, stream.text, "en").wer)
            offline.append(accuracy(recording.reference, recording.text, "en").wer)
    wer, offline_wer = ErrorRate.over(rates), ErrorRate.over(offline)
    assert wer is not None
    assert offline_wer is not None
    return Figures(lags, firsts, wer, offline_wer, costs)


def parse() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--impl", default="full-max")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--window-seconds", type=float, default=15.0)
    parser.add_argument("--policies", default="align-att,local-agreement")
    parser.add_argument("--streams", default="1,8", help="streams at once, as 1,8")
    parser.add_argument("--min-chunk", type=float, default=0.5)
    parser.add_argument("--samples", default=SAMPLES)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument(
        "--processors", type=int, default=1, help="share the seconds of --clock cpu among so many"
    )
    return parser.parse_args()


def main() -> None:
    """Measures each policy with each number of streams, and prints a table."""
    arguments = parse()
    console = Console()
    machine = describe_machine()
    console.print(f"{machine.cpu}, {machine.n_cpus} processors", highlight=False)
    recordings = read_recordings(arguments)
    network = load_network()
    seconds, n_processors = CLOCKS[arguments.clock], arguments.processors

    def clock() -> float:
        return seconds() / n_processors

    table = Table("policy", "streams", "lag mean", "p95", "first text", "WER", "offline", "update")
    with maxwhisper_cli.load(
        arguments.model,
        arguments.impl,
        dtype=arguments.dtype,
        n_threads=arguments.threads,
        n_audio_ctx=positions_of(arguments.window_seconds),
    ) as model:
        for policy in arguments.policies.split(","):
            for n_streams in map(int, arguments.streams.split(",")):
                options = ListenOptions(
                    policy=policy, min_chunk_seconds=arguments.min_chunk, language="en"
                )
                figures = measure(
                    model.implementation, network, recordings, options, n_streams, clock
                )
                table.add_row(
                    policy,
                    str(n_streams),
                    f"{np.mean(figures.lags):.2f} s",
                    f"{np.percentile(figures.lags, 95):.2f} s",
                    f"{np.mean(figures.firsts):.2f} s",
                    f"{100 * figures.wer.rate:.1f} %",
                    f"{100 * figures.offline_wer.rate:.1f} %",
                    f"{np.mean(figures.costs):.3f} s",
                    style="" if figures.holds else "dim",
                )
    console.print(table)
    console.print(
        f"bars of tiny.en: lag {MAX_LAG} s, first text {MAX_FIRST} s, {MAX_POINTS} points of WER; "
        "a line that misses one is dim",
        highlight=False,
    )


if __name__ == "__main__":
    main()
