"""Each second counts once: nested work apart, whatever ends it."""

from collections.abc import Iterator

import pytest

from maxwhisper_cli.transcription.stopwatch import STOPPED, RunningStopwatch, Spent


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = 100.0

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    return clock


def test_nested_activity_counts_alone(clock: Clock) -> None:
    watch = RunningStopwatch()
    clock.passes(1)
    with watch.on("outer"):
        clock.passes(2)
        with watch.on("inner"):
            clock.passes(4)
        clock.passes(8)
    clock.passes(16)
    with watch.on("inner"):
        clock.passes(32)
    assert watch.spent == {"outer": Spent(10, 1), "inner": Spent(36, 2)}


def test_failing_activity_counts_until_then(clock: Clock) -> None:
    watch = RunningStopwatch()

    def fail() -> None:
        with watch.on("outer"), watch.on("inner"):
            clock.passes(3)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    with watch.on("outer"):
        clock.passes(1)
    assert watch.spent == {"outer": Spent(1, 2), "inner": Spent(3, 1)}


def test_getting_items_counts_apart_from_using_them(clock: Clock) -> None:
    def items() -> Iterator[int]:
        for item in range(2):
            clock.passes(1)
            yield item
        clock.passes(5)

    watch = RunningStopwatch()
    with watch.on("using"):
        for _ in watch.each("getting", items()):
            clock.passes(10)
    assert {what: spent.seconds for what, spent in watch.spent.items()} == {
        "using": 20,
        "getting": 7,
    }


def test_seconds_are_moved_to_their_activity(clock: Clock) -> None:
    watch = RunningStopwatch()
    with watch.on("decoding"):
        clock.passes(10)
        watch.move("steps", 6, 30)
    assert watch.spent == {"decoding": Spent(4, 1), "steps": Spent(6, 30)}


def test_same_timestamp_changes_nothing() -> None:
    with STOPPED.on("anything"):
        STOPPED.move("something", 1, 1)
    assert list(STOPPED.each("items", [1, 2])) == [1, 2]
    assert not STOPPED.is_running
