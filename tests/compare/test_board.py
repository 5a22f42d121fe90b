"""Progress display of a comparison: lanes on a terminal, lines in a pipe."""

import io

import pytest
from rich.console import Console
from rich.progress_bar import ProgressBar

from maxwhisper_cli.compare.board import Board
from maxwhisper_cli.compare.messages import Advanced, Loaded, Measured, Stage
from maxwhisper_cli.compare.runner import Outcome
from maxwhisper_cli.console import Terminal
from tests.compare.outcomes import done, measured

LOADED = Loaded("cpu", "float32", 1.5, 0.0, False, False, 99)


@pytest.fixture
def board() -> Board:
    return Board(["cpu", "cuda", "full-max"], ["a/talk.wav", "b/song.mp3"], 3, Terminal())


def lanes(board: Board, width: int = 80) -> dict[str, str]:
    console = Console(file=io.StringIO(), width=width, record=True, force_terminal=True)
    console.print(board)
    lines = [line for line in console.export_text().splitlines() if line.strip()]
    assert all(len(line) <= width for line in lines)
    return {line[1:].split()[0]: line for line in lines}


def test_every_implementation_is_there_from_the_beginning(board: Board) -> None:
    assert list(lanes(board)) == ["cpu", "cuda", "full-max"]
    assert all("waiting" in line for line in lanes(board).values())


def test_lane_shows_the_current_activity(board: Board) -> None:
    board.start("cpu")
    assert "starting" in lanes(board)["cpu"]
    board.on_message("cpu", Stage("compiling 2 graphs"))
    assert "compiling 2 graphs" in lanes(board)["cpu"]
    board.on_message("cpu", LOADED)
    board.on_message("cpu", Advanced("b/song.mp3", 0, 1.0, 4.0))
    assert "song.mp3: warming up" in lanes(board)["cpu"]
    board.on_message("cpu", Advanced("b/song.mp3", 2, 1.0, 4.0))
    assert "song.mp3: run 2 of 3" in lanes(board)["cpu"]
    assert "waiting" in lanes(board)["cuda"]


@pytest.mark.parametrize(
    ("file", "run", "done_seconds", "n_done"),
    [("a/talk.wav", 0, 2.0, 0.5), ("a/talk.wav", 3, 4.0, 4.0), ("b/song.mp3", 3, 4.0, 8.0)],
)
def test_the_bar_counts_runs_of_all_recordings(
    board: Board, file: str, run: int, done_seconds: float, n_done: float
) -> None:
    board.on_message("cpu", Advanced(file, run, done_seconds, 4.0))
    bar = next(iter(board.__rich__().columns[3].cells))
    assert isinstance(bar, ProgressBar)
    assert (bar.completed, bar.total) == (n_done, 8)


def test_how_it_ended_stays(board: Board) -> None:
    board.start("cpu")
    board.finish(done("cpu", measured("a/talk.wav")))
    board.finish(Outcome("cuda", "unavailable", "no GPU"))
    board.finish(Outcome("full-max", "failed", "out of memory"))
    shown = lanes(board)
    assert "done" in shown["cpu"]
    assert "unavailable: no GPU" in shown["cuda"]
    assert "failed: out of memory" in shown["full-max"]


def test_a_pipe_gets_lines(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.start("cpu")
    board.on_message("cpu", LOADED)
    board.on_message("cpu", Measured(measured("a/talk.wav")))
    board.finish(Outcome("cuda", "failed", "out of memory"))
    assert capsys.readouterr().err.splitlines() == [
        "cpu: loaded in 1.5 s, on cpu",
        "cpu: talk.wav: 2.00, 1.00, 4.00 s",
        "cuda: failed: out of memory",
    ]
