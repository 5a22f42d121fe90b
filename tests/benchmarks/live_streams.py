"""Many live streams that share one GPU, in real time: time from audio to text, and wrong words.

Recorded speech is played in real time to so many streams, of one process or of several, which begin
at different moments. An update is due once its audio has come in, and done once its events are out;
its time is the difference. Texts are compared with what the same model says offline.

    python -m tests.benchmarks.live_streams --impl full-max --device cuda:0 --streams 100,500
"""

import argparse
import heapq
import json
import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import maxwhisper_cli
from implementations.implementation import Implementation
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.compare.accuracy import ErrorRate, accuracy
from maxwhisper_cli.listen import drive
from maxwhisper_cli.listen.decoding import LiveNeed
from maxwhisper_cli.listen.events import Event, FinalWords
from maxwhisper_cli.listen.options import ListenOptions
from maxwhisper_cli.listen.streams import LiveStream, LiveStreams
from maxwhisper_cli.listen.transcriber import LiveTranscriber
from maxwhisper_cli.samples import fetch_samples
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.speech.network_file import load_network
from maxwhisper_cli.speech.utterances import Edge
from weights.audio_context import positions_of

Float32 = npt.NDArray[np.float32]
SAMPLE_RATE = 16000
BLOCK_SECONDS = 0.1
"""Audio that a client sends at a time."""
CLIP_SECONDS = 24
PAUSE_SECONDS = 1.5
MAX_P99_SECONDS = 0.150
"""Bar of 500 tiny.en streams on an H100."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of speech that streams play, with its text offline."""

    samples: Float32
    text: str


class TimedTranscriber(LiveTranscriber):
    """Transcriber that tells how long after its audio each update is done."""

    began_at = 0.0
    """Time of the first sample."""
    update_seconds: list[float]
    _edge_place = 0

    def store(self, samples: Float32, edges: Sequence[Edge]) -> None:
        """Adds samples; an edge that they show is due with them."""
        super().store(samples, edges)
        if edges:
            self._edge_place = self._samples.end

    def steps(self) -> Generator[LiveNeed, None, list[Event]]:
        """Does what is due, and notes how long ago it became due."""
        place = self._text.decoded_until + self._min_chunk
        if self._edges:
            place = max(self._edge_place, place if self._text.is_speech else 0)
            place = min(place, self._samples.end)
        events = yield from super().steps()
        block = int(BLOCK_SECONDS * SAMPLE_RATE)
        arrived = self.began_at + -(-place // block) * BLOCK_SECONDS
        self.update_seconds.append(time.monotonic() - arrived)
        return events


@dataclass(eq=False)
class Player:
    """One stream and the clip that it plays."""

    live: TimedTranscriber
    clip: Clip
    delay: float
    stream: LiveStream | None = None
    n_sent: int = 0
    words: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def take(self, events: list[Event] | Exception) -> None:
        """Notes final words; called in the streams' thread."""
        if isinstance(events, Exception):
            self.errors.append(events)
            return
        self.words += [event.text for event in events if isinstance(event, FinalWords)]

    @property
    def next_at(self) -> float:
        """Time at which a microphone has recorded the next block."""
        return self.live.began_at + self.n_sent / SAMPLE_RATE + BLOCK_SECONDS

    def send(self) -> bool:
        """Sends a block; ends the utterance, and returns False, behind the last one."""
        assert self.stream is not None
        block = self.clip.samples[self.n_sent : self.n_sent + int(BLOCK_SECONDS * SAMPLE_RATE)]
        if len(block) == 0:
            self.stream.end_utterance()
            return False
        self.stream.put(block)
        self.n_sent += len(block)
        return True


def clips_of(model: maxwhisper_cli.Model) -> list[Clip]:
    """Returns stretches of the samples, with their texts offline, greedily."""
    options = maxwhisper_cli.TranscribeOptions(beam_size=None, language="en")
    paths = fetch_samples(["jfk", "sonnet"])
    jfk, sonnet = (open_audio(paths[name]).read() for name in ("jfk", "sonnet"))
    gap = np.zeros(int(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
    n_clip = CLIP_SECONDS * SAMPLE_RATE
    found = []
    for speech in (np.concatenate([jfk, gap, jfk]), sonnet[:n_clip], sonnet[n_clip : 2 * n_clip]):
        padded = np.concatenate([speech, gap]).astype(np.float32)
        found.append(Clip(padded, model.transcribe(padded, options).text))
    return found


@dataclass(frozen=True, slots=True)
class Work:
    """Work of one process."""

    model: str
    impl: str
    device: str
    dtype: str
    window_seconds: float
    options: ListenOptions
    clips: Sequence[Clip]
    n_streams: int
    seed: int


def run_process(work: Work, barrier: Barrier, results: "multiprocessing.Queue[str]") -> None:
    """Loads the model, waits for the other processes, plays, and reports."""
    network = load_network()
    with maxwhisper_cli.load(
        work.model,
        work.impl,
        device=work.device,
        dtype=work.dtype,
        n_audio_ctx=positions_of(work.window_seconds),
    ) as model:
        implementation = model.implementation
        play(implementation, network, work, min(8, work.n_streams), seconds=6)  # warms it up
        barrier.wait(300)
        shares = time_stages()
        before = time.process_time()
        players = play(implementation, network, work, work.n_streams)
        used = time.process_time() - before
    times = [value for player in players for value in player.live.update_seconds]
    rates = [accuracy(each.clip.text, "".join(each.words), "en").wer for each in players]
    wer = ErrorRate.over(rates)
    assert wer is not None
    errors = sorted({str(error) for player in players for error in player.errors})
    results.put(
        json.dumps(
            {
                "times": times,
                "n_errors": wer.n_errors,
                "n_words": wer.n_reference,
                "processor": used,
                "errors": errors,
                "shares": shares,
            }
        )
    )


def time_stages() -> dict[str, float]:
    """Makes the stages of the streams' thread add their seconds to what is returned."""
    seconds = {"rounds": 0.0}
    stages = {
        "audio": (LiveStreams, "_take_inputs"),
        "all steps": (LiveStreams, "_decode"),
        "encode": (drive, "_encode"),
        "decode": (drive, "_decode"),
        "align": (drive, "align_windows"),
    }

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            began = time.perf_counter()
            result = function(*given)
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
            seconds["rounds"] += name == "audio"
            return result

        return run

    for name, (place, attribute) in stages.items():
        setattr(place, attribute, timed(name, getattr(place, attribute)))
    return seconds


def play(
    implementation: Implementation,
    network: VoiceNetwork,
    work: Work,
    n_streams: int,
    seconds: float = CLIP_SECONDS + PAUSE_SECONDS + 2,
) -> list[Player]:
    """Plays clips to so many streams in real time; returns them with their texts and times."""
    chosen = random.Random(work.seed)
    players = []
    for index in range(n_streams):
        live = TimedTranscriber(implementation, work.options, network)
        live.update_seconds = []
        clip = work.clips[index % len(work.clips)]
        players.append(Player(live, clip, chosen.uniform(0, 2)))
    with LiveStreams(implementation) as streams:
        start = time.monotonic()
        for player in players:
            player.live.began_at = start + player.delay
            player.stream = streams.open(player.live, player.take)
        feeder = threading.Thread(target=_feed, args=(players, start + seconds))
        feeder.start()
        feeder.join()
        time.sleep(1)
    return players


def _feed(players: Sequence[Player], end: float) -> None:
    playing = [(player.next_at, index) for index, player in enumerate(players)]
    heapq.heapify(playing)
    while playing and playing[0][0] < end:
        at, index = heapq.heappop(playing)
        time.sleep(max(0, at - time.monotonic()))
        if players[index].send():
            heapq.heappush(playing, (players[index].next_at, index))


def measure(arguments: argparse.Namespace, clips: Sequence[Clip], n_streams: int) -> list[str]:
    """Measures so many streams; returns a row of the table."""
    n_processes = min(arguments.processes, n_streams)
    options = ListenOptions(
        policy=arguments.policy, min_chunk_seconds=arguments.min_chunk, language="en"
    )
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(n_processes), context.Queue()
    processes = []
    for index in range(n_processes):
        n = n_streams // n_processes + (index < n_streams % n_processes)
        work = Work(
            arguments.model,
            arguments.impl,
            arguments.device,
            arguments.dtype,
            arguments.window_seconds,
            options,
            clips,
            n,
            index,
        )
        process = context.Process(target=run_process, args=(work, barrier, results))
        process.start()
        processes.append(process)
    found = [json.loads(results.get(timeout=400)) for _ in processes]
    for process in processes:
        process.join()
    times = np.array([value for each in found for value in each["times"]])
    wrong = sum(each["n_errors"] for each in found) / sum(each["n_words"] for each in found)
    for each in found:
        for error in each["errors"]:
            print("error:", error)  # noqa: T201
    shares = {name: round(value, 1) for name, value in found[0]["shares"].items()}
    print(f"seconds of the streams' thread in the first process: {shares}")  # noqa: T201
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    return [
        str(n_streams),
        str(n_processes),
        str(len(times)),
        f"{1000 * p50:.0f} ms",
        f"{1000 * p95:.0f} ms",
        f"{1000 * p99:.0f} ms",
        f"{100 * wrong:.1f} %",
        f"{sum(each['processor'] for each in found):.1f} s",
        "yes" if p99 <= MAX_P99_SECONDS else "no",
    ]


def main() -> None:
    """Measures each number of streams, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--impl", default="full-max")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--window-seconds", type=float, default=15.0)
    parser.add_argument("--policy", default="align-att")
    parser.add_argument("--min-chunk", type=float, default=0.5)
    parser.add_argument("--streams", default="1,100,250,500", help="numbers of streams")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    arguments = parser.parse_args()
    with maxwhisper_cli.load(
        arguments.model, arguments.impl, device=arguments.device, dtype=arguments.dtype
    ) as model:
        clips = clips_of(model)
    head = ["streams", "processes", "updates", "p50", "p95", "p99", "WER to offline", "CPU"]
    table = Table(*head, f"p99 <= {MAX_P99_SECONDS:g} s")
    rows = []
    for n_streams in map(int, arguments.streams.split(",")):
        rows.append(measure(arguments, clips, n_streams))
        Console().print(" ".join(rows[-1]), highlight=False)
        table.add_row(*rows[-1])
    Console().print(table)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
