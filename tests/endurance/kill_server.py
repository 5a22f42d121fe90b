"""kill -9 of a server with requests under way: the next one answers as if nothing had been."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import soundfile

from maxwhisper_cli.samples import fetch_samples

_N_REQUESTS = 4
_SECONDS = 2.0


@dataclass
class Counts:
    """Counts of a campaign."""

    n_killed: int = 0
    n_ended: int = 0
    """Runs that ended before they were killed."""
    n_undisturbed: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def run_server_kills(folder: Path, n_kills: int, generator: random.Random) -> Counts:
    """Kills a server so often while it answers; each next one must answer the same.

    Args:
        folder: A folder of its own.
        n_kills: Number of kills.
        generator: Chooses the moments.
    """
    counts, began = Counts(), time.monotonic()
    clip = _clip(folder)
    spool = folder / "spool"
    spool.mkdir()
    expected, answer_seconds = "", 1.0
    for number in range(n_kills + 1):
        process, address = _start(spool)
        try:
            start = time.monotonic()
            text = _ask(address, clip)
            answer_seconds = time.monotonic() - start if not number else answer_seconds
            expected = expected or text or ""
            counts.n_undisturbed += 1
            if text != expected or not text:
                counts.faults.append(f"after {number} kills it answers {text!r}")
            if number < n_kills:
                _ask_several(address, clip, generator.uniform(0, 2 * answer_seconds))
                counts.n_killed += 1
        finally:
            process.kill()
            process.communicate()
        if left := list(spool.iterdir()):
            counts.faults.append(f"uploads are left: {left}")
        if counts.faults:
            break
    shutil.rmtree(spool)
    counts.seconds = time.monotonic() - began
    return counts


def _clip(folder: Path) -> bytes:
    samples, rate = soundfile.read(fetch_samples(["jfk"])["jfk"])
    path = folder / "clip.wav"
    soundfile.write(path, samples[: int(_SECONDS * rate)], rate)
    return path.read_bytes()


def _start(spool: Path) -> tuple["subprocess.Popen[str]", str]:
    command = ["serve", "--port", "0", "--model", "tiny.en", "--impl", "cpu", "--offline"]
    process = subprocess.Popen(
        [sys.executable, "-m", "maxwhisper_cli", *command, "--spool-dir", str(spool)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("ready on "):
            return process, line.split()[-1]
    raise AssertionError("the server ended")


def _ask(address: str, clip: bytes) -> str | None:
    """Returns the text; None if the server is gone."""
    data, files = {"response_format": "verbose_json"}, {"file": ("clip.wav", clip)}
    try:
        url = f"{address}/v1/audio/transcriptions"
        answer = httpx2.post(url, data=data, files=files, timeout=120)
    except httpx2.HTTPError:
        return None
    return answer.text if answer.status_code == 200 else None


def _ask_several(address: str, clip: bytes, seconds: float) -> None:
    """Sends requests at once, and comes back while they are answered."""
    for _ in range(_N_REQUESTS):
        threading.Thread(target=_ask, args=(address, clip), daemon=True).start()
    time.sleep(seconds)
