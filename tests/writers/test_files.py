"""Paths of outputs: names, clashes that are found early, and atomic files."""

import json
import os
import stat
from pathlib import Path

import pytest

from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.writers.base import Document, OutputError, Writer
from maxwhisper_cli.writers.files import Outputs, plan_outputs, prepare_folder, write_atomically
from maxwhisper_cli.writers.registry import choose_writers

TXT = choose_writers(["txt"])


def planned(*sources: str, name: str = "{stem}", folder: str = "out") -> list[str]:
    plan = plan_outputs(sources, TXT, Path(folder), name)
    return [str(path) for outputs in plan for path in outputs.paths]


def test_outputs_are_named_after_inputs() -> None:
    assert planned("talks/a.b.mp3", "-", ".hidden", "plain") == [
        "out/a.b.txt",
        "out/stdin.txt",
        "out/.hidden.txt",
        "out/plain.txt",
    ]


def test_an_output_for_each_format() -> None:
    (outputs,) = plan_outputs(["a.wav"], choose_writers(["srt,json"]), Path())
    assert outputs.paths == (Path("a.srt"), Path("a.json"))


def test_names_are_made_from_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned("x/a.wav", name="{parent}-{name}") == ["out/x-a.wav.txt"]
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    assert planned("a.wav", "../b.wav", name="{parent}-{stem}") == [
        "out/below-a.txt",
        "out/here-b.txt",
    ]
    assert planned("x/{name}.wav", name="{stem}!") == ["out/{name}!.txt"]
    assert planned("a.wav", "b.wav", name="{stem}{stem}") == ["out/aa.txt", "out/bb.txt"]


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (["a.mp3", "a.wav"], "{stem}"),
        (["x/a.wav", "y/a.wav"], "{stem}"),
        (["x/a.wav", "y/a.wav"], "{name}"),
        (["a.wav", "A.wav"], "{stem}"),
        (["stra\N{LATIN SMALL LETTER SHARP S}e.wav", "STRASSE.wav"], "{stem}"),
        (
            ["caf\N{LATIN SMALL LETTER E WITH ACUTE}.wav", "cafe\N{COMBINING ACUTE ACCENT}.wav"],
            "{stem}",
        ),
        (["-", "stdin.wav"], "{stem}"),
        (["a.wav", "b.wav"], "same"),
    ],
)
def test_two_inputs_never_share_an_output(sources: list[str], name: str) -> None:
    with pytest.raises(OptionsError, match=r"would both be written to out/.*--output-name"):
        planned(*sources, name=name)


@pytest.mark.parametrize("again", ["a.wav", "./a.wav", "x/../a.wav"])
def test_an_input_given_twice_is_refused(again: str) -> None:
    with pytest.raises(OptionsError, match="given more than once"):
        planned("a.wav", again)


def test_an_output_never_replaces_an_input(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"would replace the input a\.txt"):
        planned("a.txt", folder=".")
    with pytest.raises(OptionsError, match=r"would replace the input A\.TXT"):
        planned("a.wav", "A.TXT", folder=".")
    (tmp_path / "sound").write_bytes(b"sound")
    (tmp_path / "a.txt").symlink_to(tmp_path / "sound")
    with pytest.raises(OptionsError, match="would replace the input"):
        planned("a.wav", str(tmp_path / "sound"), folder=str(tmp_path))


@pytest.mark.parametrize("name", ["", "a/b", "../{stem}", "{nothing}"])
def test_a_template_that_gives_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(OptionsError, match="--output-name"):
        planned("a.wav", name=name)


def test_a_folder_is_made_and_checked(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "new" / "folder", [])
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        prepare_folder(tmp_path, [tmp_path / "a.txt"])


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, so the answer of the system is made up.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be written to"):
        prepare_folder(tmp_path, [])


def test_files_are_utf8_with_the_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("from before, and longer than what comes now")
    write_atomically(path, "Grüße\n")
    assert path.read_bytes() == "Grüße\n".encode()
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "plain"]


def test_a_path_that_is_no_unicode_can_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.json")
    write_atomically(path, f'{{"model": "{os.fsdecode(bytes([255]))}.pt"}}')
    assert json.loads(path.read_bytes())["model"] == os.fsdecode(b"\xff.pt")


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("from before")

    def fail(self: Path, _target: Path) -> None:
        assert self.read_text() == "new", "the new text is complete before it is put in place"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "from before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_vanished_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        write_atomically(tmp_path / "gone" / "a.txt", "new")


class BrokenWriter(Writer):
    name = "broken"

    def render(self, document: Document) -> str:
        raise ZeroDivisionError


def test_nothing_is_written_unless_every_format_is_ready(tmp_path: Path) -> None:
    paths = (tmp_path / "a.txt", tmp_path / "a.broken")
    outputs = Outputs((*TXT, BrokenWriter()), paths)
    nothing = Transcript("", (), "en", None, 0.0)
    with pytest.raises(ZeroDivisionError):
        outputs.write(Document(nothing, "transcribe", "base", "cpu", "cpu", "float32"))
    assert list(tmp_path.iterdir()) == []
