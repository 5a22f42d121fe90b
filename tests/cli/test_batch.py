"""`maxwhisper transcribe --batch-size` with several files: written when done, reported in order."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.commands.outcome import Outcome, row
from tests.cli.conftest import (
    SPOKEN,
    FakeModels,
    MakeSound,
    RunCommandLine,
    names,
    says,
    stopped_after,
)
from tests.support.scripted import ScriptedImplementation
from tests.support.scripted_rows import RowImplementation

BATCH = ("-f", "txt")


class TwoRows(ScriptedImplementation):
    """Decodes two windows at a time by default."""

    @property
    def default_rows(self) -> int:
        """Number of rows."""
        return 2


@pytest.fixture(autouse=True)
def models(models: FakeModels) -> FakeModels:
    """Models of two rows, so that several files share them and stay whole."""
    models.kind = TwoRows
    return models


def test_files_are_written_when_done_and_reported_in_input_order(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    """The first file has three windows, each of the others one."""
    speaking = says(SPOKEN, models.dims)
    written: list[list[str]] = []

    def script(request: DecodeRequest) -> DecodedWindow:
        written.append(names(Path()))
        return speaking(request)

    models.script = script
    files = sound("a.wav", 65), sound("b.wav"), sound("c.wav", 3), sound("d.wav", 2)
    done = maxwhisper("transcribe", *files, *BATCH)
    assert done.exit_code == 0
    assert all("a.txt" not in each for each in written[:4])  # of the three windows of a.wav
    assert written[3] == ["b.txt"]
    assert names(Path()) == ["a.txt", "b.txt", "c.txt", "d.txt"]
    starts = [line[1:10] for line in done.stdout.splitlines()]
    assert starts == ["00:00.000", "00:30.000", "01:00.000", *["00:00.000"] * 3]
    reported = [line.partition(":")[0] for line in done.stderr.splitlines() if "; wrote " in line]
    assert reported == ["a.wav", "b.wav", "c.wav", "d.wav"]
    table = done.stderr[done.stderr.index("status") :]
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["a.wav", "1:05"],
        ["b.wav", "0:01"],
        ["c.wav", "0:03"],
        ["d.wav", "0:02"],
    ]


def test_one_failure_does_not_stop_the_others(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels, tmp_path: Path
) -> None:
    speaking = says(SPOKEN, models.dims)
    broken = tmp_path / "broken.wav"
    broken.write_text("this is not audio")

    def script(request: DecodeRequest) -> DecodedWindow:
        Path("z.txt").mkdir(exist_ok=True)  # in the way
        return speaking(request)

    models.script = script
    files = sound("a.wav"), broken, "gone.wav", sound("y.wav"), sound("z.wav")
    done = maxwhisper("transcribe", *files, *BATCH)
    assert done.exit_code == 1
    assert names(Path()) == ["a.txt", "y.txt", "z.txt"]
    assert "Traceback" not in done.stderr
    assert "error: gone.wav does not exist" in done.stderr
    assert "wrote z.txt" not in done.stderr
    assert done.stderr.endswith("error: 3 of 5 files failed\n")
    table = done.stderr[done.stderr.index("status") :]
    assert [table.count(word) for word in (" ok", "failed:", "English")] == [2, 3, 2]


def test_texts_on_stdout_keep_the_order_given(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    files = sound("long.wav", 65), sound("short.wav"), sound("empty.wav", 0)
    done = maxwhisper("transcribe", *files, *BATCH, "-o", "-")
    assert (done.exit_code, done.stdout) == (0, "Grüße, 世界.\n" * 4)
    assert names(Path()) == []
    order = [done.stderr.index(f"{name}.wav: English") for name in ("long", "short", "empty")]
    assert order == sorted(order)
    assert "empty.wav holds no sound" in done.stderr


def test_finished_files_stay_when_stopped(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    models.script = stopped_after(2, says(SPOKEN, models.dims))
    done = maxwhisper("transcribe", sound("a.wav", 65), sound("b.wav"), sound("c.wav"), *BATCH)
    assert (done.exit_code, done.stderr.endswith("error: stopped\n")) == (130, True)
    assert names(Path()) == ["b.txt"]


def test_quiet(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    done = maxwhisper("transcribe", sound("a.wav"), sound("b.wav"), *BATCH, "-q")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert names(Path()) == ["a.txt", "b.txt"]


def lines(text: str) -> Iterator[dict[str, object]]:
    return map(json.loads, text.splitlines())


def test_several_files_are_rows_by_default(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    """Their JSON is that of one after the other; a number cuts them."""
    models.kind = RowImplementation
    files = sound("a.wav", 250), sound("b.wav", 40)
    written = {}
    for name, options in {"default": (), "auto": ("auto",), "1": ("1",), "5": ("5",)}.items():
        given = ("--batch-size", *options) if options else ()
        done = maxwhisper("transcribe", *files, "-f", "json", "-o", name, "-q", *given)
        assert done.exit_code == 0
        written[name] = [(Path(name) / f"{stem}.json").read_bytes() for stem in "ab"]
    assert written["default"] == written["auto"] == written["1"]
    in_rows, in_turn = (models.implementations[i] for i in (0, 2))
    assert isinstance(in_rows, RowImplementation)
    assert isinstance(in_turn, RowImplementation)
    assert (in_rows.widths[0], in_turn.widths) == (2, [])
    n_cuts = [len(json.loads(each)["cuts"]) for each in written["5"]]
    assert n_cuts[0] >= 8
    assert n_cuts[1] == 1


@pytest.mark.parametrize(
    ("given", "is_cut", "end"),
    [
        ((), False, "; --batch-size auto would cut it and decode 3 parts side by side\n"),
        (("--batch-size", "auto"), True, ""),
        (("--batch-size", "2"), True, ""),
    ],
)
def test_one_file_is_cut_only_on_demand(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    models: FakeModels,
    given: tuple[str, ...],
    is_cut: bool,
    end: str,
) -> None:
    models.kind = RowImplementation
    done = maxwhisper("transcribe", sound("a.wav", 250), "-f", "json", *given)
    n_cuts = len(json.loads(Path("a.json").read_text(encoding="utf-8"))["cuts"])
    assert n_cuts >= 8 if is_cut else n_cuts == 0
    assert done.stderr.endswith(f"wrote a.json{end or chr(10)}")


def test_nothing_is_promised_where_rows_save_nothing(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    models.kind = ScriptedImplementation
    done = maxwhisper("transcribe", sound("a.wav", 250), "-f", "txt")
    assert done.stderr.endswith("wrote a.txt\n")


@pytest.mark.parametrize("kind", [ScriptedImplementation, RowImplementation])
def test_json_lines_come_as_files_end(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    models: FakeModels,
    tmp_path: Path,
    kind: type[ScriptedImplementation],
) -> None:
    models.kind = kind
    broken = tmp_path / "broken.wav"
    broken.write_text("this is not audio")
    files = [str(each) for each in (sound("a.wav", 65), broken, sound("b.wav"))]
    done = maxwhisper("transcribe", *files, "--jsonl")
    assert (done.exit_code, names(Path())) == (1, [])
    found = list(lines(done.stdout))
    in_order = found if kind is ScriptedImplementation else [found[2], found[0], found[1]]
    assert [each["path"] for each in in_order] == files
    assert list(in_order[1]) == ["path", "error"]
    assert maxwhisper("transcribe", files[0], "-f", "json", "-q").exit_code == 0
    assert in_order[0] == {"path": files[0], **json.loads(Path("a.json").read_bytes())}


@pytest.mark.parametrize("given", [("-f", "txt"), ("-o", "-"), ("-o", "there")])
def test_json_lines_go_nowhere_else(
    maxwhisper: RunCommandLine, sound: MakeSound, given: tuple[str, ...]
) -> None:
    done = maxwhisper("transcribe", sound(), "--jsonl", *given)
    assert done.exit_code == 2
    assert "--jsonl writes no files" in done.stderr


def test_segments_of_the_first_file_appear_while_others_go(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    models: FakeModels,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models.kind = RowImplementation
    models.script = stopped_after(3, says(SPOKEN, models.dims))
    done = maxwhisper("transcribe", sound("a.wav", 65), sound("b.wav", 65), "-f", "txt")
    assert done.exit_code == 130
    assert [line[1:10] for line in done.stdout.splitlines()] == ["00:00.000"]  # that of a.wav


@pytest.mark.parametrize("given", ["many", "0", "1.5", "-1"])
def test_numbers_of_rows_that_make_no_sense(
    maxwhisper: RunCommandLine, sound: MakeSound, given: str
) -> None:
    done = maxwhisper("transcribe", sound(), "--batch-size", given)
    assert done.exit_code == 2
    assert "batch" in done.stderr


def test_no_text_is_kept_for_the_final_table(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    models: FakeModels,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of files would else fill the memory."""
    models.kind = RowImplementation
    kept: list[Outcome] = []

    def spy(outcome: Outcome) -> tuple[str, ...]:
        kept.append(outcome)
        return row(outcome)

    monkeypatch.setattr("maxwhisper_cli.commands.batch.row", spy)
    done = maxwhisper("transcribe", sound("a.wav", 40), sound("b.wav"), "-f", "txt")
    assert done.exit_code == 0
    assert [outcome.name for outcome in kept] == ["a.wav", "b.wav"]
    for outcome in kept:
        assert outcome.transcript is not None
        assert (outcome.transcript.segments, outcome.document) == ((), None)
