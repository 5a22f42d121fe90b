"""Tables on narrow terminals: nothing that stands in a wide one is cut or left out unsaid."""

import io

import pytest
from rich.console import Console

from maxwhisper_cli.commands import parity
from maxwhisper_cli.compare.columns import COLUMNS
from maxwhisper_cli.compare.results import Comparison, Recording
from maxwhisper_cli.compare.table import summary_lines
from maxwhisper_cli.console import Column, Terminal
from maxwhisper_cli.parity.rungs import Rung
from maxwhisper_cli.tables import make_table
from tests.cli.conftest import MakeSound, RunCommandLine
from tests.compare.outcomes import REFERENCE, compared, done, measured

TABLE = (Column("name", is_name=True), Column("size", is_number=True), Column("about"))
ROWS = [("first", "3,087 MB", "what it is in some words"), ("x\x1b[2J", "7 MB", "")]


def drawn(width: int, *, is_ruled: bool = False) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(make_table(TABLE, ROWS, width, is_ruled=is_ruled))
    return capture.get()


@pytest.mark.parametrize("width", [12, 20, 30, 40, 80])
@pytest.mark.parametrize("is_ruled", [False, True])
def test_every_word_is_there(width: int, is_ruled: bool) -> None:
    text = drawn(width, is_ruled=is_ruled)
    assert max(map(len, text.splitlines())) <= width
    assert {"3,087", "MB", "what", "it", "is", "in", "some", "words", "x\\x1b[2J"} <= set(
        text.split()
    )


def test_a_narrow_table_is_a_list() -> None:
    assert drawn(20).splitlines() == [
        "first",
        "  size: 3,087 MB",
        "  about: what it is ",
        "in some words",
        "x\\x1b[2J",
        "  size: 7 MB",
    ]


@pytest.mark.parametrize("width", [20, 40])
def test_models_in_few_columns(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = maxwhisper("models").stdout
    assert "size: 3,087 MB\n" in shown
    assert "languages: English\n" in shown


def test_the_summary_in_few_columns(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch, sound: MakeSound
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    done = maxwhisper("transcribe", sound("a.wav"), sound("b.wav"), "-f", "txt")
    for expected in ("a.wav\n", "  language: English\n", "  status: ok\n"):
        assert expected in done.stderr


@pytest.fixture
def comparison() -> Comparison:
    return compared(
        done("cpu", measured("talk.wav")), recordings=(Recording("talk.wav", REFERENCE),)
    )


@pytest.mark.parametrize("width", [20, 27])
def test_a_comparison_in_few_columns(comparison: Comparison, width: int) -> None:
    lines = [line.plain for line in summary_lines(comparison, width)]
    assert lines[0] == "cpu"
    titles = {line.strip().partition(":")[0] for line in lines[1:]}
    assert titles == {column.title for column in COLUMNS} - {"compile s", "GPU MiB"}


def test_hidden_columns_are_counted(comparison: Comparison) -> None:
    for width, n_hidden in ((80, 9), (None, 0)):
        last = summary_lines(comparison, width)[-1].plain
        assert (last == f"--wide shows {n_hidden} more columns") is bool(n_hidden)


@pytest.mark.parametrize("width", [20, 80])
def test_a_ladder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(Terminal, "width", property(lambda _: width))
    monkeypatch.setenv("COLUMNS", str(width))
    rung = Rung("logits", passed=False, note="they differ from the first on")
    parity._show([rung], Terminal())
    text = capsys.readouterr().out
    assert {"logits", "RED", "they", "differ"} <= set(text.split())
