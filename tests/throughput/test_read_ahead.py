"""Recordings that are read ahead come in order, whole, within a bound, and fail alone."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from maxwhisper_cli.throughput.read_ahead import (
    MAX_WAITING,
    Admit,
    ReadAhead,
    count_reading_threads,
    may_stall,
)
from weights.errors import MaxWhisperError

DEADLINE = 20.0
"""Seconds after which a test that waits for a thread fails."""


class Opener:
    """Opens names as recordings of blocks; knows what was opened and closed, and where."""

    def __init__(self, n_blocks: int = 3, block_bytes: int = 10) -> None:
        self.n_blocks = n_blocks
        self.block_bytes = block_bytes
        self.opened: dict[str, str] = {}
        """Thread that opened each."""
        self.read: set[str] = set()
        """Those whose last block was admitted."""
        self.closed: set[str] = set()
        self.most_waiting = 0
        self.n_waiting = 0
        self.lock = threading.Lock()

    @contextmanager
    def __call__(self, source: Path, admit: Admit | None) -> Iterator[str]:
        with self.lock:
            self.opened[source.name] = threading.current_thread().name
        for _ in range(self.n_blocks):
            if admit is not None:
                admit(self.block_bytes)
                with self.lock:
                    self.n_waiting += self.block_bytes
                    self.most_waiting = max(self.most_waiting, self.n_waiting)
        if source.name.startswith("broken"):
            raise MaxWhisperError(source.name)
        with self.lock:
            self.read.add(source.name)
        try:
            yield source.name
        finally:
            with self.lock:
                self.closed.add(source.name)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{index:03}" for index in range(40)]
    for path in paths:
        path.touch()
    return paths


def wait_until(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.005)


@pytest.mark.parametrize("n_threads", [0, 1, 4])
def test_recordings_come_in_order_and_are_closed(files: list[Path], n_threads: int) -> None:
    opener = Opener()
    with ReadAhead(files, opener, n_threads) as ahead:
        names = []
        for recording in ahead:
            with recording as name:
                names.append(name)
                assert name not in opener.closed
            assert name in opener.closed
    assert names == [path.name for path in files]


def test_the_first_is_opened_where_it_is_needed_and_others_meanwhile(files: list[Path]) -> None:
    opener = Opener()
    with ReadAhead(files, opener, 2) as ahead, next(iter(ahead)):
        wait_until(lambda: len(opener.read) == len(files))
    assert opener.opened.pop(files[0].name) == threading.main_thread().name
    assert all(name.startswith("read ahead") for name in opener.opened.values())
    assert len(opener.closed) == len(files)


def test_an_error_belongs_to_its_recording(files: list[Path]) -> None:
    broken = files[3].with_name("broken")
    broken.touch()
    files[3] = broken
    names, errors = [], []
    with ReadAhead(files, Opener(), 2) as ahead:
        for recording in ahead:
            try:
                with recording as name:
                    names.append(name)
            except MaxWhisperError as error:
                errors.append(str(error))
    assert errors == ["broken"]
    assert names == [path.name for path in files if path != broken]


def test_what_waits_is_bounded(files: list[Path]) -> None:
    """Recordings of 30 bytes, 100 may wait: three are done and one stands in the middle."""
    opener = Opener()
    with ReadAhead(files, opener, 4, max_bytes=100) as ahead:
        recordings = iter(ahead)
        with next(recordings):
            wait_until(lambda: opener.n_waiting == 100)
            time.sleep(0.05)
            assert ahead.waiting_bytes == opener.most_waiting == 100
        for recording in recordings:
            with recording:
                assert ahead.waiting_bytes <= 100


def test_one_larger_than_the_bound_is_read_when_its_turn_comes(files: list[Path]) -> None:
    opener = Opener(block_bytes=1000)
    with ReadAhead(files[:5], opener, 2, max_bytes=100) as ahead:
        names = []
        for recording in ahead:
            with recording as name:
                names.append(name)
            assert ahead.waiting_bytes == 0
    assert len(names) == 5


def test_few_wait_however_short_they_are(tmp_path: Path) -> None:
    paths = [tmp_path / str(index) for index in range(1000)]
    for path in paths:
        path.touch()
    opener = Opener(n_blocks=1)
    with ReadAhead(paths, opener, 2) as ahead:
        for number, recording in enumerate(ahead):
            with recording:
                assert len(opener.opened) - number <= MAX_WAITING + 2
    assert len(opener.closed) == len(paths)


def test_what_may_stall_is_opened_when_its_turn_comes(files: list[Path]) -> None:
    pipe = files[1].with_name("pipe")
    os.mkfifo(pipe)
    files[1] = pipe
    opener = Opener()
    with ReadAhead(files, opener, 2) as ahead:
        recordings = iter(ahead)
        with next(recordings):
            wait_until(lambda: len(opener.opened) == len(files) - 1)
            assert "pipe" not in opener.opened
        with next(recordings) as name:
            assert name == "pipe"
    assert opener.opened["pipe"] == threading.main_thread().name


def test_only_files_are_read_ahead(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    assert not may_stall(path)
    assert not may_stall(str(path))
    assert not may_stall(tmp_path / "missing")
    with path.open("rb") as file:
        for source in ("-", b"content", np.zeros(3), file, tmp_path, "/dev/null"):
            assert may_stall(source)


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError()], ids=repr)
def test_a_path_that_cannot_be_looked_at_ends_no_thread(error: Exception) -> None:
    class Path:
        def __fspath__(self) -> str:
            raise error

    assert may_stall(Path())
    with ReadAhead([Path(), Path(), Path()], _fail_to_open, 2) as queue:
        for entered in queue:
            with pytest.raises(MaxWhisperError, match="not to be opened"), entered:
                pass


@contextmanager
def _fail_to_open(_source: object, _admit: object) -> Iterator[None]:
    raise MaxWhisperError("not to be opened")
    yield


def test_those_not_taken_are_closed(files: list[Path]) -> None:
    opener = Opener()
    with ReadAhead(files, opener, 2, max_bytes=60) as ahead, next(iter(ahead)):
        wait_until(lambda: opener.n_waiting == 60)
    assert files[0].name in opener.closed
    assert opener.closed == opener.read
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read ahead")]


def test_any_mix_comes_in_order(tmp_path: Path) -> None:
    """200 random mixes of up to 12 recordings: whole, broken or a pipe, any threads and bounds."""
    rng = np.random.default_rng(5)
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths = []
        for index in range(rng.integers(1, 13)):
            kind = rng.choice(["whole", "broken", "pipe"], p=[0.7, 0.2, 0.1])
            path = folder / f"{kind}{index}"
            os.mkfifo(path) if kind == "pipe" else path.touch()
            paths.append(path)
        opener = Opener(int(rng.integers(4)), int(rng.integers(1, 100)))
        seen = []
        with ReadAhead(
            paths, opener, int(rng.integers(5)), max_bytes=int(rng.integers(300))
        ) as ahead:
            for recording in ahead:
                try:
                    with recording as name:
                        seen.append(name)
                except MaxWhisperError as error:
                    seen.append(str(error))
        assert seen == [path.name for path in paths]
        assert ahead.waiting_bytes == 0


def test_threads_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for n_processors in (1, 2, 16):
        monkeypatch.setattr(
            "maxwhisper_cli.throughput.read_ahead.available_threads", lambda n=n_processors: n
        )
        counts.append((count_reading_threads("cpu"), count_reading_threads("cuda:0")))
    assert counts == [(0, 1), (1, 1), (1, 15)]


@pytest.mark.parametrize(("n_threads", "by_device"), [(1, (0, 1)), (2, (1, 1)), (4, (1, 3))])
def test_threads_are_bounded_by_the_user(n_threads: int, by_device: tuple[int, int]) -> None:
    counts = tuple(count_reading_threads(device, n_threads) for device in ("cpu", "cuda:0"))
    assert counts == by_device
