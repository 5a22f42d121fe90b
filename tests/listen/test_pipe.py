"""Live audio from pipes: raw samples, containers as they are written, and what is no audio."""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio.raw import RawFormat
from maxwhisper_cli.audio.stream import AudioError
from maxwhisper_cli.listen.pipe import open_blocks, open_pipe
from maxwhisper_cli.listen.source import ThreadedSource
from tests.support import loaded

WritePipe = Callable[[bytes], int]


@pytest.fixture
def pipe() -> Iterator[WritePipe]:
    """Writes bytes into a pipe as it is read; returns the end to read from."""
    opened: list[int] = []

    def write(data: bytes) -> int:
        reading, writing = os.pipe()
        opened.append(reading)

        def run() -> None:
            with os.fdopen(writing, "wb", buffering=0) as file:
                for first in range(0, len(data), 30000):
                    file.write(data[first : first + 30000])

        threading.Thread(target=run, daemon=True).start()
        return reading

    yield write
    for descriptor in opened:
        os.close(descriptor)


def read(descriptor: int, raw: RawFormat | None = None) -> np.ndarray:
    warnings: list[str] = []
    source = ThreadedSource(
        "the pipe", lambda: open_blocks(descriptor, "the pipe", raw, warnings.append), is_live=True
    )
    blocks: list[np.ndarray] = []
    while (block := source.read(10)) is not None:
        blocks.append(block)
    assert warnings == []
    return np.concatenate(blocks)


def test_raw_samples_are_those_of_the_file(pipe: WritePipe, jfk: Path) -> None:
    expected = loaded.samples_of(jfk)
    data = (expected * 32768).astype("<i2").tobytes()
    np.testing.assert_array_equal(read(pipe(data), RawFormat()), expected)


def test_a_sample_may_be_torn(pipe: WritePipe) -> None:
    data = np.arange(-20000, 20000, dtype="<i2").tobytes()
    samples = read(pipe(b"".join((data, b"\x01"))), RawFormat())
    np.testing.assert_array_equal(samples, np.arange(-20000, 20000, dtype=np.float32) / 32768)


def test_channels_are_mixed_and_rates_changed(pipe: WritePipe) -> None:
    both = np.stack([np.full(48000, 8192), np.full(48000, 16384)], axis=1).astype("<i2")
    samples = read(pipe(both.tobytes()), RawFormat("s16le", 48000, 2))
    assert len(samples) == pytest.approx(16000, abs=2)
    assert samples[4000:12000] == pytest.approx(0.375, abs=1e-3)


@pytest.mark.parametrize("recording", ["jfk", "sonnet", "spanish"])
def test_containers_are_read_whole(
    pipe: WritePipe, recording: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(recording)
    expected = len(loaded.samples_of(path))
    assert len(read(pipe(path.read_bytes()))) == pytest.approx(expected, abs=0.05 * 16000)


def test_sound_comes_before_the_pipe_has_ended(jfk: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, jfk.read_bytes()[:60000])
    blocks = open_blocks(reading, "the pipe", RawFormat(), print).blocks
    assert len(next(blocks)) > 0
    os.close(writing)
    list(blocks)
    os.close(reading)


@pytest.mark.parametrize(
    ("data", "raw", "message"),
    [
        (b"", None, "the pipe is empty: nothing was written to it"),
        (b"", RawFormat(), "the pipe is empty: nothing was written to it"),
        (b"hello " * 1000, None, "the pipe is not audio or video that can be read as it comes"),
        (bytes(range(256)) * 300, None, "the pipe is not audio"),
    ],
)
def test_what_is_no_audio_is_an_error(
    pipe: WritePipe, data: bytes, raw: RawFormat | None, message: str
) -> None:
    with pytest.raises(AudioError) as caught:
        read(pipe(data), raw)
    assert str(caught.value).startswith(message)


def test_a_source_gives_what_has_come(tmp_path: Path, jfk: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing: list[int] = []
    opener = threading.Thread(target=lambda: writing.append(os.open(pipe, os.O_WRONLY)))
    opener.start()
    source = open_pipe(str(pipe), RawFormat(), print)
    opener.join()
    assert source.is_live
    assert source.read(0.01) is not None
    os.write(writing[0], jfk.read_bytes()[:32000])
    deadline, n_read = time.monotonic() + 10, 0
    while n_read < 16000 and time.monotonic() < deadline:
        block = source.read(0.1)
        assert block is not None
        n_read += len(block)
    assert n_read == 16000
    os.close(writing[0])
    while (block := source.read(0.1)) is not None:
        assert len(block) == 0


@pytest.mark.parametrize("raw", ["RawFormat('s16le', 48000, 1)", "None"])
def test_a_program_may_end_while_the_pipe_is_open(raw: str, jfk: Path) -> None:
    """At 48 kHz, raw or in a container: no library prints anything of what its thread holds."""
    sound = np.repeat(loaded.samples_of(jfk)[: 2 * 16000], 3)
    data = io.BytesIO()
    soundfile.write(data, sound, 48000, format="WAV" if raw == "None" else "RAW", subtype="PCM_16")
    program = (
        "from maxwhisper_cli.audio.raw import RawFormat\n"
        "from maxwhisper_cli.listen.pipe import open_pipe\n"
        f"with open_pipe('-', {raw}, print) as source:\n"
        "    n_read = 0\n"
        "    while n_read < 16000:\n"
        "        n_read += len(source.read(10))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(data.getvalue())
    process.stdin.flush()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.wav", "does not exist: check its name and folder"), ("", "is a folder")],
)
def test_a_path_is_checked(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        open_pipe(str(tmp_path / name), None, print)
