"""Process that reads recordings for another one, and writes their samples to its standard output.

Run as a program with one argument, a request as JSON: paths, options of reading, and the number of
threads for a long recording. What it writes are messages: kind and length, then as many bytes. A
recording begins with its facts, goes on with samples, and ends with its warnings, or as failed.
"""

import json
import os
import struct
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final, cast

import numpy as np

from maxwhisper_cli.audio.reader import ReadingOptions, open_audio

HEADER: Final = struct.Struct("<BQ")
"""Kind of a message, and its length in bytes."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a recording, known before its samples."""

    name: str
    seconds: float | None
    sample_rate: int
    n_channels: int


class Kind(IntEnum):
    """Kinds of messages."""

    FACTS = 1
    """JSON of `Facts`."""
    SAMPLES = 2
    """Numbers of a block, float32."""
    END = 3
    """JSON: the warnings."""
    FAILED = 4
    """The recording is to be read by who wants it, who meets the error then."""


def main() -> None:
    """Reads the recordings of the request."""
    request = json.loads(sys.argv[1])
    with suppress(BrokenPipeError):
        for path in request["paths"]:
            try:
                _read(path, cast("ReadingOptions", request["reading"]), request["n_threads"])
            except BrokenPipeError:
                raise
            except Exception:  # noqa: BLE001  (any: it is met again by who wants the recording)
                _write(Kind.FAILED, b"")


def _read(path: str, reading: ReadingOptions, n_threads: int) -> None:
    with open_audio(path, **reading) as audio:
        audio.n_threads = n_threads
        facts = Facts(audio.name, audio.seconds, audio.sample_rate, audio.n_channels)
        _write(Kind.FACTS, json.dumps(asdict(facts)).encode())
        for block in audio:
            _write(Kind.SAMPLES, np.ascontiguousarray(block).data)
        _write(Kind.END, json.dumps(audio.warnings).encode())


def _write(kind: Kind, content: bytes | memoryview) -> None:
    rest = memoryview(content).cast("B") if len(content) > 0 else memoryview(b"")
    os.write(sys.stdout.fileno(), HEADER.pack(kind, len(rest)))
    while len(rest) > 0:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


if __name__ == "__main__":
    main()
