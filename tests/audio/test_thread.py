"""Blocks that a thread decodes come in order, with their error, and end when they are to."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from maxwhisper_cli.audio import reader as audio
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.audio.stream import AudioError
from maxwhisper_cli.audio.thread import BlocksAhead
from tests.support.sound import encode


def blocks(n_blocks: int, error: Exception | None = None) -> Iterator[np.ndarray]:
    for number in range(n_blocks):
        yield np.full(3, number, np.float32)
    if error is not None:
        raise error


def threads_ahead() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "audio ahead"]


@pytest.mark.parametrize("n_blocks", [0, 1, 30])
def test_blocks_come_in_order(n_blocks: int) -> None:
    assert [block[0] for block in BlocksAhead(blocks(n_blocks))] == list(range(n_blocks))
    assert not threads_ahead()


def test_an_error_comes_after_the_blocks_before_it() -> None:
    ahead = iter(BlocksAhead(blocks(7, AudioError("broken"))))
    assert [next(ahead)[0] for _ in range(7)] == list(range(7))
    with pytest.raises(AudioError, match="broken"):
        next(ahead)
    assert not threads_ahead()


def test_few_blocks_wait_and_the_thread_ends_with_the_reader() -> None:
    taken = []

    def counted() -> Iterator[np.ndarray]:
        for block in blocks(100):
            taken.append(block)
            yield block

    ahead = BlocksAhead(counted())
    next(iter(ahead))
    ahead.close()
    assert len(taken) <= 1 + 4 + 1
    assert not threads_ahead()


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_a_file_reads_as_without_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    monkeypatch.setattr(audio, "MIN_SECONDS", 0.1)
    path = encode(tmp_path / "a", container, "aac", video=True)
    readings = []
    for n_threads in (1, 3):
        with open_audio(path) as opened:
            opened.n_threads = n_threads
            readings.append((opened.read(), opened.warnings))
    np.testing.assert_array_equal(readings[0][0], readings[1][0])
    assert readings[0][1] == readings[1][1]


def test_closing_ends_the_thread_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "MIN_SECONDS", 0.1)
    path = encode(tmp_path / "a.m4a", "mp4", "aac")
    opened = open_audio(path)
    opened.n_threads = 2
    reading = iter(opened)
    next(reading)
    opened.close()
    assert not threads_ahead()
