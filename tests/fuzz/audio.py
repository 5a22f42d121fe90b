"""Recordings that are damaged, decoded in child processes with limits of memory and time.

A child decodes many, and says which before each; where it dies, that one is the finding, and a new
child goes on after it.
"""

import io
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from tests.fuzz.guided import Campaign
from tests.fuzz.mutation import mutated

_MAX_BYTES = 3 * 2**30
_MAX_SECONDS = 20
_FORMATS = (
    *(("wav", "pcm_s16le", 16000), ("wav", "pcm_f32le", 48000), ("flac", "flac", 44100)),
    *(("mp3", "libmp3lame", 44100), ("ogg", "libopus", 48000), ("ogg", "libvorbis", 44100)),
    *(("adts", "aac", 44100), ("mp4", "aac", 44100), ("webm", "libopus", 48000)),
    *(("matroska", "flac", 16000), ("aiff", "pcm_s16be", 22050), ("au", "pcm_mulaw", 8000)),
    *(("avi", "mp3", 44100), ("mpegts", "mp2", 48000), ("caf", "pcm_s16le", 16000)),
)
_TOKENS = (b"RIFF", b"data", b"fmt ", b"OggS", b"moov", b"\xff\xfb", b"fLaC", b"\x1aE\xdf\xa3")


def seeds() -> list[bytes]:
    """A third of a second of a tone in each format that the installed FFmpeg writes."""
    found = []
    for container, codec, rate in _FORMATS:
        try:
            found.append(_encoded(container, codec, rate))
        except Exception:  # a build without that codec
            continue
    return found


def _encoded(container_name: str, codec: str, rate: int) -> bytes:
    import av

    times = np.arange(rate // 3) / rate
    tone = (0.4 * np.sin(2 * np.pi * 330 * times)).astype(np.float32)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_name) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        resampler = av.AudioResampler(stream.format.name, "mono", rate, 960)
        frame = av.AudioFrame.from_ndarray(tone[None], "flt", "mono")
        frame.sample_rate = rate
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def case_of(seed: int, index: int, corpus: list[bytes]) -> bytes:
    """The recording of a number."""
    generator = random.Random(f"audio {seed} {index}")
    return mutated(generator.choice(corpus), corpus, _TOKENS, generator)


def run_audio(
    folder: Path, *, seed: int, n_cases: int, max_seconds: float = float("inf")
) -> Campaign:
    """Decodes so many recordings, or as many as the time allows."""
    campaign = Campaign()
    began = time.monotonic()
    while campaign.n_cases < n_cases and time.monotonic() - began < max_seconds:
        left = max_seconds - (time.monotonic() - began)
        for line in _child(folder, seed, campaign.n_cases, n_cases, left):
            word, _, rest = line.partition(" ")
            if word == "case":
                campaign.n_cases = int(rest) + 1
            elif word in {"finding", "died"}:
                case = case_of(seed, campaign.n_cases - 1, seeds())
                campaign.findings.setdefault(rest, case)
    campaign.seconds = time.monotonic() - began
    return campaign


def _child(folder: Path, seed: int, first: int, stop: int, seconds: float) -> Iterator[str]:
    """Yields the lines of a child, and a last one if it died."""
    numbers = [str(number) for number in (seed, first, stop)]
    command = [sys.executable, "-m", "tests.fuzz.audio", str(folder), *numbers]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        end = time.monotonic() + seconds
        for line in child.stdout:
            yield line.rstrip()
            if time.monotonic() > end:
                child.kill()
                return
        if child.wait() not in {0, None}:
            yield f"died by {child.returncode}"


def _decode(path: Path) -> None:
    from maxwhisper_cli.audio.reader import open_audio

    with open_audio(str(path)) as audio:
        samples = audio.read()
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all(), "samples that are no numbers"


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {_MAX_SECONDS} s")


def main() -> None:
    """Decodes the recordings from the first number to before the last."""
    import logging

    from weights.errors import MaxWhisperError

    logging.disable(logging.CRITICAL)
    folder, seed, first, stop = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _stop)
    corpus = seeds()
    path = folder / "recording"
    for index in range(first, stop):
        print(f"case {index}", flush=True)
        path.write_bytes(case_of(seed, index, corpus))
        signal.alarm(_MAX_SECONDS)
        try:
            _decode(path)
        except MaxWhisperError:
            continue
        except BaseException as error:  # the next ones are to be decoded too
            import traceback

            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if "maxwhisper_cli" in f.filename] or frames
            at = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
            print(f"finding {type(error).__name__} at {at}", flush=True)
        finally:
            signal.alarm(0)


if __name__ == "__main__":
    main()
