"""Files that other processes read: the same samples and errors, and bounded memory."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio.reader import Audio, AudioError, ReadingOptions, open_audio
from maxwhisper_cli.throughput import reading_processes as processes_module
from maxwhisper_cli.throughput import reading_start
from maxwhisper_cli.throughput.reading_processes import BYTES_PER_PROCESS, ReadingProcesses
from maxwhisper_cli.throughput.reading_start import (
    MAX_PROCESSES,
    MIN_BYTES,
    MIN_THREADS,
    start_reading,
)

DEADLINE = 60.0
"""Seconds after which a test that waits for a process fails."""


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MIN_BYTES == 2**20
    monkeypatch.setattr(reading_start, "MIN_BYTES", 1)
    monkeypatch.setattr(reading_start, "MAX_PROCESSES", 2)  # their starts cost processor time


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Noise of 1 to 4 s in two channels, in files."""
    paths = []
    for seconds in range(1, 5):
        path = tmp_path / f"{seconds}.wav"
        noise = np.random.default_rng(seconds).normal(0, 0.1, (seconds * 16000, 2))
        soundfile.write(path, noise, 16000)
        paths.append(str(path))
    return paths


def reading_processes(
    paths: list[str], reading: ReadingOptions, n_threads: int
) -> ReadingProcesses:
    return ReadingProcesses(start_reading(paths, reading, n_threads), reading)


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.005)


def assert_same(reader: ReadingProcesses, path: str, reading: ReadingOptions) -> None:
    opener = reader.opener(path)
    assert opener is not None
    with opener() as audio, open_audio(path, **reading) as expected:
        assert isinstance(audio, Audio)
        facts = [
            (each.name, each.seconds, each.sample_rate, each.n_channels, each.read())
            for each in (audio, expected)
        ]
        np.testing.assert_array_equal(facts[0][-1], facts[1][-1])
        assert facts[0][:-1] == facts[1][:-1]
        assert audio.warnings == expected.warnings
    assert reader.opener(path) is None


@pytest.mark.parametrize("reading", [{}, {"channel": "split"}])
def test_samples_and_facts_are_the_same(files: list[str], reading: ReadingOptions) -> None:
    empty = files[0].replace("1.wav", "empty.wav")
    soundfile.write(empty, np.zeros((0, 2)), 16000)
    paths = [*files, empty, files[0]]
    with reading_processes(paths, reading, MIN_THREADS) as reader:
        for path in paths[:-1]:
            assert_same(reader, path, reading)
        assert reader._n_bytes == 0
    assert reader.opener(files[0]) is None


@pytest.mark.parametrize(
    ("n_threads", "n_bytes"), [(MIN_THREADS - 1, 1), (MIN_THREADS, 10**6), (0, 1)]
)
def test_where_it_does_not_pay_nothing_is_read(
    files: list[str], n_threads: int, n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_start, "MIN_BYTES", n_bytes)
    with reading_processes(files, {}, n_threads) as reader:
        assert [reader.opener(path) for path in files] == [None] * len(files)
        assert not reader._processes


def test_what_may_stall_is_left_alone(files: list[str], tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    with reading_processes([str(pipe), "-", *files[:1]], {}, MIN_THREADS) as reader:
        assert reader.opener(str(pipe)) is None
        assert reader.opener("-") is None
        assert_same(reader, files[0], {})


def test_what_cannot_be_opened_is_left_to_its_turn(tmp_path: Path, files: list[str]) -> None:
    broken, missing = str(tmp_path / "broken.mp3"), str(tmp_path / "missing.wav")
    Path(broken).write_bytes(b"no sound")
    with reading_processes([broken, missing, *files], {}, MIN_THREADS) as reader:
        for path in (broken, missing):
            opener = reader.opener(path)
            assert opener is not None
            with opener() as source:
                assert source == path
        assert_same(reader, files[0], {})


def test_after_its_process_was_killed_the_rest_is_read_here(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first file is over four seconds long, and comes in two blocks."""
    longest = files[3]
    soundfile.write(longest, np.random.default_rng(0).normal(0, 0.1, 6 * 16000), 16000)
    monkeypatch.setattr(reading_start, "MAX_PROCESSES", 1)
    monkeypatch.setattr(processes_module, "BYTES_PER_PROCESS", 300_000)  # a block, of 4 s
    with reading_processes([longest, *files[:3]], {}, MIN_THREADS) as reader:
        opener = reader.opener(longest)
        assert opener is not None
        place = place_of(reader, files[0])
        with opener() as audio, open_audio(longest) as expected:
            assert isinstance(audio, Audio)
            blocks = iter(audio)
            first = next(blocks)
            reader._processes[0].send_signal(signal.SIGKILL)
            wait_until(lambda: place.is_done)
            np.testing.assert_array_equal(np.concatenate([first, *blocks]), expected.read())
        for path in files[:3]:
            opener = reader.opener(path)
            assert opener is not None
            with opener() as source:
                if isinstance(source, Audio):  # it had reader
                    with open_audio(path) as expected:
                        np.testing.assert_array_equal(source.read(), expected.read())


def place_of(reader: ReadingProcesses, path: str) -> processes_module._Place:
    return reader._places[path]


def test_an_error_among_the_samples_comes_after_those_before_it(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a file that is changed meanwhile: the process has failed, and its error is met here."""
    whole = Audio.__iter__

    def fails(audio: Audio) -> Iterator[np.ndarray]:
        yield next(whole(audio))
        raise AudioError("the disk is gone")

    with reading_processes(files[:1], {}, MIN_THREADS) as reader:
        place = place_of(reader, files[0])
        wait_until(lambda: place.is_done)
        place.has_failed = True
        opener = reader.opener(files[0])
        assert opener is not None
        with opener() as audio:
            assert isinstance(audio, Audio)
            blocks = iter(audio)
            assert len(next(blocks)) == 16000
            monkeypatch.setattr(Audio, "__iter__", fails)
            with pytest.raises(AudioError, match="the disk is gone"):
                next(blocks)


def test_memory_is_bounded_and_what_is_dropped_stops_nothing(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (BYTES_PER_PROCESS, MAX_PROCESSES) == (32 * 2**20, 12)
    monkeypatch.setattr(reading_start, "MAX_PROCESSES", 1)
    monkeypatch.setattr(processes_module, "BYTES_PER_PROCESS", 200_000)  # three seconds
    with reading_processes(files, {}, MIN_THREADS) as reader:
        wait_until(lambda: place_of(reader, files[1]).is_done)
        time.sleep(0.05)
        assert reader._n_bytes == (1 + 2) * 64_000
        assert not place_of(reader, files[2]).is_done
        for path in files[:3]:
            opener = reader.opener(path)
            assert opener is not None
            with opener() as audio:
                assert isinstance(audio, Audio)  # and is not read
        assert_same(reader, files[3], {})
        assert reader._n_bytes == 0


def test_processes_and_threads_end(files: list[str]) -> None:
    with reading_processes(files, {}, MIN_THREADS) as reader:
        processes, threads = list(reader._processes), list(reader._threads)
        assert len(processes) == len(threads) == 2
    assert not any(thread.is_alive() for thread in threads)
    assert all(process.poll() is not None for process in processes)
