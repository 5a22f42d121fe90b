"""`maxwhisper transcribe --batch-size` with several files: written when done, reported in order."""

from pathlib import Path

from implementations.request import DecodedWindow, DecodeRequest
from tests.cli.conftest import (
    SPOKEN,
    FakeModels,
    MakeSound,
    RunCommandLine,
    names,
    says,
    stopped_after,
)

BATCH = ("--batch-size", "2", "-f", "txt")


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
