"""The live line: what it says while something takes time."""

import io

import pytest
from rich.console import Console

from maxwhisper_cli.activity import headline
from maxwhisper_cli.live_activity import LiveActivity


class Drawn:
    """A live line on a terminal of 60 columns, with a clock that tests advance."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._console = Console(
            file=io.StringIO(), force_terminal=True, width=60, get_time=lambda: self.seconds
        )
        self.activity = LiveActivity(self._console)

    @property
    def line(self) -> str:
        with self._console.capture() as capture:
            self._console.print(self.activity._progress.get_renderable())
        return capture.get().strip()


@pytest.mark.parametrize(
    ("n_total", "expected"), [(10_000_000, "5.0/10.0 MB"), (0, "5.0 MB"), (None, "5.0 MB")]
)
def test_a_download_in_bytes(n_total: int | None, expected: str) -> None:
    drawn = Drawn()
    drawn.activity.show_download("base", 5_000_000, n_total)
    assert "downloading base" in drawn.line
    assert drawn.line.endswith(expected)


def test_task_without_a_total_shows_its_time() -> None:
    drawn = Drawn()
    drawn.activity.show("compiling")
    assert "0:0" not in drawn.line
    drawn.seconds = 75.2
    assert "compiling" in drawn.line
    assert "1:15" in drawn.line
    drawn.activity.show("compiling")
    assert "1:15" in drawn.line, "said again, it goes on"
    drawn.activity.show("loading")
    drawn.seconds = 80.2
    assert "0:05" in drawn.line, "something else begins anew"


def test_after_something_with_a_total() -> None:
    drawn = Drawn()
    drawn.activity.show("downloading", 5, 10, "5/10 MB")
    drawn.seconds = 3
    assert "5/10 MB" in drawn.line
    assert "0:03" not in drawn.line
    drawn.activity.show("compiling")
    drawn.seconds = 5
    assert "0:02" in drawn.line
    assert "MB" not in drawn.line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("compiling 2 MAX graphs together (a, b): once", "compiling 2 MAX graphs together"),
        ("waiting: long", "waiting"),
        ("compiled in 5 s", "compiled in 5 s"),
    ],
)
def test_headline_is_the_text_before_details(words: str, expected: str) -> None:
    assert headline(words) == expected
