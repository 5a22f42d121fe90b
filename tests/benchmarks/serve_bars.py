"""Throughput of `maxwhisper serve` beside faster-whisper behind a minimal FastAPI app.

Both serve tiny.en on the same processors, in turns; the same clients send the same recordings,
greedy, a number of them at a time. Wall time means little on a busy machine: processor seconds of
the server's process are told beside it.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2
import numpy as np
from rich.console import Console

from maxwhisper_cli.compare.machine import describe_machine
from maxwhisper_cli.samples import fetch_samples
from tests.benchmarks.processes import HERE
from weights.resolve import load

OURS = "maxwhisper serve"
RIVALS = {"faster-whisper int8": "int8", "faster-whisper float32": "float32"}
MIN_RATIO = 3.0
"""Bar: our audio seconds a second by the rival's, in the same run."""
SECONDS = {"jfk": 11.0, "sonnet": 53.3}
MIX = ("jfk", "jfk", "jfk", "sonnet")
_START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Load:
    """Figures of one server under load."""

    name: str
    requests_per_second: float
    audio_per_second: float
    p50_seconds: float
    p99_seconds: float
    processor_seconds: float
    """Seconds of the server's processors, for all requests."""
    audio_seconds: float


def command(name: str, port: int, device: str) -> list[str]:
    """The command that runs a server."""
    if name == OURS:
        options = ["--model", "tiny.en", "--offline", "--quiet", "--max-queue", "1000"]
        options += ["--device", device]
        return [sys.executable, "-m", "maxwhisper_cli", "serve", "--port", str(port), *options]
    source = load("tiny.en", offline=True).source
    folder = source if source.is_dir() else source.parent
    options = ["--compute-type", RIVALS[name], "--device", device, "--port", str(port)]
    return [sys.executable, str(HERE / "serve_rival.py"), str(folder), *options]


@contextmanager
def running(name: str, device: str) -> Iterator[tuple[str, int]]:
    """Runs a server; gives its address and the id of its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(command(name, port, device))
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(60)


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    """Waits for the model of a server."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(f"{address}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the server does not start")


def processor_seconds(process_id: int) -> float:
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def visit(address: str, kinds: Sequence[str], n_at_once: int) -> list[float]:
    """Sends a recording of each kind; returns the seconds that each took."""
    recordings = {name: path.read_bytes() for name, path in fetch_samples(list(SECONDS)).items()}
    places = asyncio.Semaphore(n_at_once)
    async with httpx2.AsyncClient(base_url=address, timeout=None) as client:

        async def send(kind: str) -> float:
            async with places:
                began = time.monotonic()
                files = {"file": (kind, recordings[kind])}
                path = "/v1/audio/transcriptions"
                answer = await client.post(path, files=files, data={"beam_size": "1"})
                assert answer.status_code == 200, answer.text
                assert answer.json()["text"]
                return time.monotonic() - began

        return await asyncio.gather(*map(send, kinds))


def measure(name: str, device: str, n_requests: int, n_at_once: int) -> Load:
    """Measures one server, after some requests that warm it up."""
    kinds = [MIX[i % len(MIX)] for i in range(n_requests)]
    with running(name, device) as (address, process_id):
        asyncio.run(visit(address, MIX, n_at_once))
        before, began = processor_seconds(process_id), time.monotonic()
        seconds = asyncio.run(visit(address, kinds, n_at_once))
        total = time.monotonic() - began
        used = processor_seconds(process_id) - before
    audio = sum(SECONDS[kind] for kind in kinds)
    return Load(
        name,
        n_requests / total,
        audio / total,
        float(np.percentile(seconds, 50)),
        float(np.percentile(seconds, 99)),
        used,
        audio,
    )


def main() -> None:
    """Measures all in turns, and compares with the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=80)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    arguments = parser.parse_args()
    console, machine = Console(highlight=False), describe_machine()
    loads: list[Load] = []
    for _ in range(arguments.runs):
        for name in (OURS, *RIVALS):
            measured = measure(name, arguments.device, arguments.requests, arguments.at_once)
            loads.append(measured)
            console.print(
                f"{name}: {measured.requests_per_second:.2f} requests/s, "
                f"{measured.audio_per_second:.1f} audio s/s, p50 {measured.p50_seconds:.2f} s, "
                f"p99 {measured.p99_seconds:.2f} s, {measured.processor_seconds:.1f} processor s "
                f"for {measured.audio_seconds:.0f} s of audio"
            )
    best = {
        name: max(each.audio_per_second for each in loads if each.name == name)
        for name in (OURS, *RIVALS)
    }
    for name in RIVALS:
        ratio = best[OURS] / best[name]
        mark = "" if ratio >= MIN_RATIO else f", below the bar of {MIN_RATIO:g}"
        console.print(f"{ratio:.2f} times {name}{mark}")
    if machine.is_busy:
        console.print(f"the machine was busy (load {machine.load_average:.1f}): times mean little")
    if arguments.json:
        written = json.dumps([asdict(each) for each in loads], indent=2) + "\n"
        arguments.json.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
