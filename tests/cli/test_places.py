"""Places that outputs may go to: nothing that is there is destroyed, links and devices work."""

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from maxwhisper_cli.inputs.state import FILE_NAME
from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.writers.base import OutputError
from maxwhisper_cli.writers.files import (
    check_reports,
    files_of_model,
    plan_outputs,
    prepare_folder,
    write_atomically,
)
from maxwhisper_cli.writers.registry import choose_writers
from tests.cli.conftest import MakeSound, RunCommandLine, names

TXT = choose_writers(["txt"])


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "real.txt", tmp_path / "a.txt"
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ("first", "second"):  # the first makes the file, as `>` does
        write_atomically(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert names(target.parent) == ["real.txt"]


def test_link_to_itself_is_an_error(tmp_path: Path) -> None:
    link = tmp_path / "a.txt"
    link.symlink_to(link)
    with pytest.raises(OutputError, match="cannot write"):
        prepare_folder(tmp_path, [link])


@pytest.mark.parametrize("mode", [0o444, 0o400])
def test_a_protected_file_is_refused(tmp_path: Path, mode: int) -> None:
    """Even of root, whom the system would let write."""
    path = tmp_path / "a.txt"
    path.write_text("mine")
    path.chmod(mode)
    with pytest.raises(OutputError, match="may not be written"):
        prepare_folder(tmp_path, [path])
    with pytest.raises(OutputError, match="may not be written"):
        write_atomically(path, "x")
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_keeps_its_permissions_and_its_other_name(tmp_path: Path) -> None:
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("mine")
    path.chmod(0o640)
    other.hardlink_to(path)
    write_atomically(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (path.read_text(), other.read_text()) == ("new", "mine")


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    os.mkfifo(path)
    transcribed: list[str] = []
    reader = threading.Thread(target=lambda: transcribed.append(path.read_text()))
    reader.start()
    write_atomically(path, "for the reader")
    reader.join()
    assert transcribed == ["for the reader"]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/dev/null"])
def test_a_device_stays_a_device(name: str, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from maxwhisper_cli.writers.files import *\n"
    code += "write_atomically(Path(sys.argv[1]), 'said')"
    with (tmp_path / "caught").open("w") as caught:
        subprocess.run([sys.executable, "-c", code, name], stdout=caught, check=True)
    assert (tmp_path / "caught").read_text() == ("" if name == "/dev/null" else "said")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert names(tmp_path) == ["caught"]


@pytest.mark.parametrize("n_letters", [251, 252, 256, 5000])
def test_name_that_is_too_long_fails_before_the_work(
    maxwhisper: RunCommandLine, sound: MakeSound, n_letters: int
) -> None:
    path = sound("talk.wav")
    long = path.with_name("x" * n_letters)
    if n_letters <= 251:
        path = path.rename(long.with_suffix(".wav"))
        done = maxwhisper("transcribe", path)
    else:
        done = maxwhisper("transcribe", path, "--output-name", long.name)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: cannot write ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("n_letters", [256, 900])
def test_an_input_with_a_name_that_is_too_long(
    maxwhisper: RunCommandLine, sound: MakeSound, n_letters: int
) -> None:
    long = "x" * n_letters
    done = maxwhisper("transcribe", long, sound(), "-f", "txt")
    assert (done.exit_code, names(Path.cwd())) == (1, ["talk.txt"])
    assert done.stderr.endswith("error: 1 of 2 files failed\n")
    done = maxwhisper("transcribe", long, "-f", "txt", "-o", "-")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "File name too long" in done.stderr


def test_the_models_files_are_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    json = choose_writers(["json"])
    with pytest.raises(OptionsError, match="would replace the input"):
        plan_outputs(["config.wav"], json, tmp_path / "model", read=files_of_model("model"))
    read = files_of_model(str(_touched("weights.txt")))
    with pytest.raises(OptionsError, match="would replace the input"):
        plan_outputs(["a.wav"], TXT, tmp_path, "weights", read=read)
    assert plan_outputs(["a.wav"], TXT, tmp_path, read=files_of_model("tiny.en"))
    assert plan_outputs(["a.wav"], TXT, tmp_path, read=files_of_model("x" * 5000))


def _touched(name: str) -> Path:
    Path(name).touch()
    return Path(name)


def test_reports_replace_neither_inputs_nor_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("talk.wav").touch()
    Path("link").symlink_to("talk.wav")
    inputs = [Path("talk.wav"), Path("talk.txt")]
    for name in ("talk.wav", "link", "./talk.wav", str(tmp_path / "talk.txt"), "Talk.TXT"):
        with pytest.raises(OptionsError, match=r"--html .* would replace the input"):
            check_reports({"--json": None, "--html": Path(name)}, inputs)
    with pytest.raises(OptionsError, match="--json and --html would both be written to"):
        check_reports({"--json": Path("x"), "--html": Path("./x")}, inputs)
    check_reports({"--json": Path("x"), "--html": Path("y"), "--markdown": None}, inputs)


def test_a_current_folder_that_is_gone(
    maxwhisper: RunCommandLine, sound: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for arguments in (("-o", "out"), (), ("--model-dir", "models")):
        done = maxwhisper("transcribe", sound(), "-f", "txt", *arguments)
        assert done.exit_code == 1
        assert "the current folder no longer exists" in done.stderr
    assert maxwhisper("transcribe", sound(), "-f", "txt", "-o", tmp_path / "out").exit_code == 0
    assert maxwhisper("models").exit_code == 0
    assert maxwhisper("compare", sound(), "--json", "x.json").exit_code == 1


@pytest.mark.parametrize("given", [["--manifest", "talk.txt"], ["@talk.txt"], ["@more"]])
def test_lists_of_inputs_are_inputs(
    maxwhisper: RunCommandLine, sound: MakeSound, given: list[str]
) -> None:
    """Outputs are named after the recordings, and lists of them often too."""
    shutil.copy(sound(), "talk.wav")
    Path("talk.txt").write_text("talk.wav\n")
    Path("more").write_text("@talk.txt\n")
    result = maxwhisper("transcribe", *given)
    assert result.exit_code == 2
    assert "talk.txt, an output of talk.wav, would replace the input talk.txt" in result.stderr
    assert Path("talk.txt").read_text() == "talk.wav\n"


@pytest.mark.parametrize(
    ("summary", "reason", "is_unit"),
    [
        ("talk.wav", "--summary talk.wav would replace the input talk.wav", False),
        ("m.jsonl", "--summary m.jsonl would replace the input m.jsonl", False),
        ("out/talk.txt", "--summary out/talk.txt would replace the output out/talk.txt", False),
        (f"out/{FILE_NAME}", "would replace the output", False),
        ("folder", "folder is a folder", False),
        ("-", "--summary takes a file", False),
        ("talk.wav", "--summary talk.wav would replace the input talk.wav", True),
        ("m.jsonl", "--summary m.jsonl would replace the input m.jsonl", True),
        ("out/run.json", "would replace the output out/run.json", True),
        ("out/unit-000000.jsonl", "would replace the output out/unit-000000.jsonl", True),
    ],
)
def test_a_summary_replaces_nothing(
    maxwhisper: RunCommandLine, sound: MakeSound, summary: str, reason: str, is_unit: bool
) -> None:
    more = ["--shard", "1/1", "--model", "tiny.en"] if is_unit else []
    shutil.copy(sound(), "talk.wav")
    Path("folder").mkdir()
    Path("m.jsonl").write_text('{"audio_filepath": "talk.wav"}\n')
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    run = ["transcribe", "--manifest", "m.jsonl", "-o", "out", "--summary", summary]
    result = maxwhisper(*run, *more)
    assert result.exit_code in {1, 2}
    assert reason in result.stderr
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    assert list(Path().rglob("talk.txt")) == [], "nothing was done before"
