"""Going on where a run stopped: `--resume`, `--force`, `--fail-fast`, `--summary` and Ctrl-C."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.inputs.state import FILE_NAME, append_line
from tests.cli.conftest import SPOKEN, FakeModels, MakeSound, RunCommandLine, names, says
from tests.support.scripted import Script, ScriptedImplementation
from tests.support.scripted_rows import RowImplementation

OPTIONS = ("-f", "txt", "--model", "tiny.en")


@pytest.fixture
def sounds(sound: MakeSound) -> list[Path]:
    """Four recordings of different lengths."""
    return [sound(f"{name}.wav", 1 + number) for number, name in enumerate("abcd")]


def pressing(script: Script, *numbers: int) -> Script:
    """The user presses Ctrl-C while these windows, counted from 1, are decoded."""
    seen = [0]

    def decode(request: DecodeRequest) -> DecodedWindow:
        seen[0] += 1
        for _ in range(numbers.count(seen[0])):
            os.kill(os.getpid(), signal.SIGINT)
        return script(request)

    return decode


def test_what_is_done_is_skipped_without_loading_a_model(
    maxwhisper: RunCommandLine, sounds: list[Path], models: FakeModels
) -> None:
    assert maxwhisper("transcribe", *sounds, *OPTIONS).exit_code == 0
    done = maxwhisper("transcribe", *sounds, *OPTIONS, "--resume")
    assert (done.exit_code, len(models.calls)) == (0, 1)
    assert "4 of 4 files are done already" in done.stderr
    assert done.stderr.count("done before") == 4
    assert maxwhisper("transcribe", *sounds, *OPTIONS, "--force").exit_code == 0
    assert len(models.calls) == 2
    assert maxwhisper("transcribe", *sounds, *OPTIONS).exit_code == 0
    assert len(models.calls) == 3


@pytest.mark.parametrize(
    "change", ["content", "option", "model", "format", "output gone", "output changed", "version"]
)
def test_what_is_not_as_it_was_is_done_again(
    maxwhisper: RunCommandLine,
    sounds: list[Path],
    models: FakeModels,
    sound: MakeSound,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert maxwhisper("transcribe", *sounds, *OPTIONS).exit_code == 0
    options: list[str] = []
    if change == "content":
        sound("b.wav", 2.5)
    elif change == "option":
        options = ["--beam-size", "3"]
    elif change == "model":
        options = ["--model", "base.en"]
    elif change == "format":
        options = ["-f", "srt"]
    elif change == "output gone":
        Path("b.txt").unlink()
    elif change == "output changed":
        Path("b.txt").write_text("edited")
    else:
        monkeypatch.setattr("maxwhisper_cli.version.program_version", lambda: "9.9")
    done = maxwhisper("transcribe", *sounds, *OPTIONS, *options, "--resume")
    n_again = 4 if change in {"option", "model", "format", "version"} else 1
    assert (done.exit_code, done.stderr.count("done before")) == (0, 4 - n_again)
    assert done.stderr.count("; wrote ") == n_again
    assert len(models.calls) == 2
    assert Path("b.txt").read_text(encoding="utf-8") == "Grüße, 世界.\n"


def test_a_renamed_file_gets_its_outputs_by_its_new_name(
    maxwhisper: RunCommandLine, sounds: list[Path], models: FakeModels
) -> None:
    assert maxwhisper("transcribe", *sounds, *OPTIONS).exit_code == 0
    moved = sounds[1].rename(sounds[1].with_name("new.wav"))
    done = maxwhisper("transcribe", sounds[0], moved, *OPTIONS, "--resume")
    assert (done.exit_code, len(models.calls)) == (0, 1)
    assert Path("new.txt").read_bytes() == Path("b.txt").read_bytes()
    Path("b.txt").unlink()
    assert maxwhisper("transcribe", sounds[0], moved, *OPTIONS, "--resume").exit_code == 0
    assert len(models.calls) == 1


def test_one_file_can_be_resumed_too(
    maxwhisper: RunCommandLine, sounds: list[Path], models: FakeModels
) -> None:
    assert maxwhisper("transcribe", sounds[0], *OPTIONS).exit_code == 0
    assert not Path(FILE_NAME).exists()
    for _ in range(2):
        assert maxwhisper("transcribe", sounds[0], *OPTIONS, "--resume").exit_code == 0
    assert len(models.calls) == 2


def test_without_a_named_model_it_is_the_one_that_was_taken(
    maxwhisper: RunCommandLine, sounds: list[Path], models: FakeModels
) -> None:
    assert maxwhisper("transcribe", *sounds, "-f", "txt").exit_code == 0
    done = maxwhisper("transcribe", *sounds, "-f", "txt", "--resume")
    assert (done.exit_code, len(models.calls), done.stderr.count("; wrote ")) == (0, 2, 0)


def test_a_damaged_record_costs_only_what_it_held(
    maxwhisper: RunCommandLine, sounds: list[Path]
) -> None:
    assert maxwhisper("transcribe", *sounds, *OPTIONS).exit_code == 0
    record = Path(FILE_NAME)
    lines = record.read_bytes().splitlines(keepends=True)
    damaged = [lines[0], b"\xff\x00\n", b"[]\n", b'{"options": 1}\n', lines[2], lines[3][:50]]
    record.write_bytes(b"".join(damaged))
    done = maxwhisper("transcribe", *sounds, *OPTIONS, "--resume")
    assert (done.exit_code, done.stderr.count("; wrote ")) == (0, 2)
    assert record.read_bytes().startswith(b"".join(damaged) + b"\n{")
    done = maxwhisper("transcribe", *sounds, *OPTIONS, "--resume")
    assert (done.exit_code, done.stderr.count("; wrote ")) == (0, 0)


def test_processes_append_at_once(tmp_path: Path) -> None:
    """Each of four writes its lines, long and short, and all are whole."""
    path = tmp_path / "record"
    children = []
    for child in range(4):
        if (process_id := os.fork()) == 0:
            for number in range(50):
                append_line(path, json.dumps([child, number, "x" * (number * 400)]))
            os._exit(0)
        children.append(process_id)
    assert [os.waitpid(each, 0)[1] for each in children] == [0] * 4
    found = [json.loads(line)[:2] for line in path.read_text().splitlines()]
    assert sorted(found) == [[child, number] for child in range(4) for number in range(50)]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C arrives, also where the tests were started with it ignored, as in a background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("kind", "n_done"), [(ScriptedImplementation, 2), (RowImplementation, 4)])
def test_ctrl_c_finishes_what_is_under_way(
    maxwhisper: RunCommandLine,
    sounds: list[Path],
    sound: MakeSound,
    models: FakeModels,
    kind: type[ScriptedImplementation],
    n_done: int,
) -> None:
    """In rows all that are open are under way: four rows here."""
    models.kind = kind
    models.script = pressing(says(SPOKEN, models.dims), 2)
    files = [*sounds, sound("e.wav", 9), sound("f.wav", 10), sound("g.wav", 11)]
    files = files if kind is RowImplementation else files[:4]
    done = maxwhisper("transcribe", *files, *OPTIONS, "--summary", "summary.jsonl")
    assert done.exit_code == 130
    written = [name for name in names(Path()) if name.endswith(".txt")]
    assert len(written) < len(files)
    assert len(written) >= n_done
    assert "finishing what is under way; Ctrl-C again stops at once" in done.stderr
    n_left = len(files) - len(written)
    advice = "left to do: the same command with --resume goes on with them\nerror: stopped\n"
    assert done.stderr.endswith(f"error: {n_left} of {len(files)} files are {advice}")
    status = [json.loads(line)["status"] for line in Path("summary.jsonl").read_text().splitlines()]
    assert status == ["done"] * len(written) + ["left"] * n_left
    models.script = None
    again = maxwhisper("transcribe", *files, *OPTIONS, "--resume")
    assert (again.exit_code, again.stderr.count("; wrote ")) == (0, n_left)


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_stops_at_once(
    maxwhisper: RunCommandLine, sounds: list[Path], models: FakeModels
) -> None:
    models.script = pressing(says(SPOKEN, models.dims), 2, 2)
    done = maxwhisper("transcribe", *sounds, *OPTIONS)
    assert done.exit_code == 130
    assert [name for name in names(Path()) if name.endswith(".txt")] == ["a.txt"]
    assert "error: 3 of 4 files are left to do: the same command with --resume" in done.stderr
    assert done.stderr.endswith("error: stopped\n")


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_in_the_table_leaves_the_advice(
    maxwhisper: RunCommandLine,
    sounds: list[Path],
    models: FakeModels,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maxwhisper_cli.console.Terminal.summary", interrupted)
    models.script = pressing(says(SPOKEN, models.dims), 2)
    done = maxwhisper("transcribe", *sounds, *OPTIONS, "--summary", "summary.jsonl")
    assert (done.exit_code, Path("summary.jsonl").is_file()) == (130, True)
    assert "error: 2 of 4 files are left to do: the same command with --resume" in done.stderr


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_the_last_file_ends_changes_nothing(
    maxwhisper: RunCommandLine, sounds: list[Path], models: FakeModels
) -> None:
    models.script = pressing(says(SPOKEN, models.dims), 4)
    done = maxwhisper("transcribe", *sounds, *OPTIONS)
    assert (done.exit_code, done.stderr.count("; wrote ")) == (0, 4)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_a_single_file(
    maxwhisper: RunCommandLine, sounds: list[Path], models: FakeModels
) -> None:
    models.script = pressing(says(SPOKEN, models.dims), 1)
    done = maxwhisper("transcribe", sounds[0], *OPTIONS)
    assert (done.exit_code, names(Path())) == (130, [])
    assert done.stderr == "error: stopped\n"


@pytest.mark.parametrize("kind", [ScriptedImplementation, RowImplementation])
def test_fail_fast(
    maxwhisper: RunCommandLine,
    sounds: list[Path],
    models: FakeModels,
    kind: type[ScriptedImplementation],
) -> None:
    models.kind = kind
    sounds[0].write_text("no sound")
    many = [*sounds, *(each.rename(each.with_stem(f"{each.stem}2")) for each in sounds[3:])]
    many = [each for each in many if each.exists()]
    done = maxwhisper("transcribe", *many, *OPTIONS, "--fail-fast", "--batch-size", "1")
    assert (done.exit_code, names(Path())) == (1, [])
    assert "1 of 4 files failed; 3 of 4 files are left to do: the same" in done.stderr
    done = maxwhisper("transcribe", *many, *OPTIONS)
    assert done.exit_code == 1
    assert names(Path()) == ["b.txt", "c.txt", "d2.txt"]


def test_summary(maxwhisper: RunCommandLine, sounds: list[Path]) -> None:
    assert maxwhisper("transcribe", *sounds[:2], *OPTIONS).exit_code == 0
    sounds[2].write_text("no sound")
    files = [*sounds[:3], sounds[3]]
    done = maxwhisper("transcribe", *files, *OPTIONS, "--resume", "--summary", "all.jsonl")
    assert done.exit_code == 1
    entries = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    assert [each["path"] for each in entries] == list(map(str, files))
    assert [each["status"] for each in entries] == ["done before", "done before", "failed", "done"]
    assert [each.get("audio_seconds") for each in entries] == [1.0, 2.0, None, 4.0]
    assert [each.get("outputs") for each in entries] == [["a.txt"], ["b.txt"], None, ["d.txt"]]
    assert "c.wav" in entries[2]["error"]
