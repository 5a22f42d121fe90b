"""Arguments as inputs: folders, patterns, lists; and the names of their outputs."""

import os
import random
import re
from pathlib import Path

import pytest

from maxwhisper_cli.inputs.expand import expand
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.inputs.manifest import read_manifest
from maxwhisper_cli.inputs.naming import output_names


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a folder in which the test runs."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "talks/b.mp3", "talks/a.WAV", "talks/notes.txt", "talks/.hidden.mp3", "talks/day 2/a.wav",
        "talks/day 2/deep/c.opus", "talks/.git/x.wav", "empty/notes.txt", "outer/inner/a.wav",
        "[1].wav", "@x.wav",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def sources(*arguments: str, recursive: bool = False) -> list[str]:
    return [each.source for each in expand(arguments, recursive=recursive)]


def test_a_folder_is_its_recordings() -> None:
    assert sources("talks") == ["talks/a.WAV", "talks/b.mp3"]
    below = ["talks/day 2/a.wav", "talks/day 2/deep/c.opus"]
    assert sources("talks", recursive=True) == ["talks/a.WAV", "talks/b.mp3", *below]


def test_the_tree_below_a_folder_is_kept() -> None:
    inputs = expand(["talks", "outer"], recursive=True)
    assert output_names(inputs) == ["a", "b", "day 2/a", "day 2/deep/c", "inner/a"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("empty", "the folder empty holds no recordings"),
        ("outer", "--recursive takes the folders in it"),
        ("talks/*.flac", r"talks/\*\.flac matches no file"),
        ("@gone.txt", "the list gone.txt cannot be read: No such file"),
    ],
)
def test_nothing_found(argument: str, message: str) -> None:
    (found,) = expand([argument])
    assert found.problem is not None
    assert re.search(message, str(found.problem))


def test_patterns_that_the_shell_left_alone() -> None:
    assert sources("talks/*.mp3") == ["talks/b.mp3"]
    assert sources("talks/**/*.wav") == ["talks/day 2/a.wav"]
    assert sources("[1].wav", "@x.wav", "gone.wav", "-") == ["[1].wav", "@x.wav", "gone.wav", "-"]


def test_a_list_names_paths_addresses_and_lists(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "near.wav").touch()
    lines = (
        "\ufeff# talks\n\n talks/b.mp3 \r\nnear.wav\nhttps://example.org/a.mp3\ntalks/*.WAV\n@more"
    )
    (tmp_path / "lists" / "all.txt").write_text(lines, encoding="utf-8")
    Path("more").write_text("gone.wav\ntalks/b.mp3\n")
    assert sources("@lists/all.txt") == [
        "talks/b.mp3", "lists/near.wav", "https://example.org/a.mp3", "talks/a.WAV", "gone.wav",
    ]  # fmt: skip
    Path("loop").write_text("@loop\n")
    (found,) = expand(["@loop"])
    assert "go on and on" in str(found.problem)


def test_what_is_found_twice_is_taken_once() -> None:
    assert sources("talks/b.mp3", "talks", "talks/*.mp3") == ["talks/b.mp3", "talks/a.WAV"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["x.mp3", "y.mp3"], ["x", "y"]),
        (["a/x.mp3", "b/x.mp3", "b/y.mp3"], ["a/x", "b/x", "y"]),
        (["x.mp3", "x.wav"], ["x.mp3", "x.wav"]),
        (["x.mp3", "X.mp3"], ["x.mp3", "X.mp3-2"]),
        (["p/a/x.mp3", "p/a/x.wav", "p/b/x.mp3"], ["a/x.mp3", "a/x.wav", "b/x"]),
        (["-", "stdin.wav"], ["stdin", "stdin.wav"]),
        (["https://h/a/x.mp3?k=1", "https://h/b/x.mp3"], ["x.mp3", "x.mp3-2"]),
        (["s3://bucket/talks/day%201.mp3"], ["day_1"]),
    ],
)
def test_names_tell_inputs_apart(given: list[str], expected: list[str]) -> None:
    assert output_names([Input(source) for source in given]) == expected


def test_identifiers_and_excerpts() -> None:
    inputs = [
        Input("x.mp3", stem="../../etc/passwd"),
        Input("x.mp3", start_seconds=1.5, duration_seconds=2.0, fields={"offset": 1.5}),
        Input("x.mp3", start_seconds=0.0, duration_seconds=2.0, fields={"offset": 0}),
        Input("x.mp3", stem=".."),
        Input("x.mp3", stem="a" * 999),
    ]
    assert output_names(inputs) == [".._.._etc_passwd", "x-1.50", "x-0.00", "_..", "a" * 200]


def test_no_two_names_are_ever_equal() -> None:
    """Random names of few letters, so that all ways of a clash come."""
    random.seed(1)
    for _ in range(200):
        inputs = [
            Input(f"{random.choice(['a/', 'b/', 'a/b/', ''])}{random.choice('xXy')}"
                  f"{random.choice(['.wav', '.mp3', '-2.mp3', '.mp3-2.mp3'])}",
                  folder=random.choice(["", "", "a", "b"]))
            for _ in range(9)
        ]  # fmt: skip
        names = output_names(inputs)
        assert len({name.casefold() for name in names}) == len(inputs)
        assert all(not name.startswith(("/", "..")) for name in names)


def test_an_argument_that_stands_for_nothing_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "outer.txt").write_text("@gone\nempty\ntalks/b.mp3\na\0b.wav\n")
    found = expand(["none*.wav", "@outer.txt", "[1].wav"])
    assert [each.source for each in found if not each.problem] == ["talks/b.mp3", "[1].wav"]
    problems = [str(each.problem) for each in found if each.problem]
    expected = ["matches no file", "@?gone", "holds no recordings", "is no name of a file"]
    assert len(problems) == len(expected)
    assert all(re.search(*pair) for pair in zip(expected, problems, strict=True))


def test_a_folder_that_cannot_be_read_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for `lost+found` of every disk; root may read it, so the system is asked to refuse."""
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    *found, last = expand(["talks"], recursive=True)
    assert [each.source for each in found] == ["talks/a.WAV", "talks/b.mp3", "talks/day 2/a.wav"]
    assert str(last.problem) == "the folder talks/day 2/deep cannot be read: Permission denied"


@pytest.mark.parametrize("name", [b"caf\xe9.wav", b"#1 hit.wav", b" x.wav ", b"a\x0cb\xc2\x85.wav"])
def test_a_list_has_the_names_of_the_file_system(tmp_path: Path, name: bytes) -> None:
    path = os.fsdecode(name)
    Path(path).touch()
    (tmp_path / "l.txt").write_bytes(b"# a comment\n\n  [1].wav\r\n" + name + b"\n")
    assert sources("@l.txt") == ["[1].wav", path]
    assert [each.source for each in read_manifest(tmp_path / "l.txt")] == ["[1].wav", path]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_list_may_have_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    for mark in ("", "\ufeff"):  # one more where a file was converted with its mark
        (tmp_path / "l.txt").write_bytes(f"{mark}[1].wav\r\ntalks/b.mp3\r\n".encode(encoding))
        assert sources("@l.txt") == ["[1].wav", "talks/b.mp3"]


def test_a_name_that_no_system_has_is_a_name_of_outputs() -> None:
    assert output_names([Input("x.wav", stem="a\ud800/b")]) == ["a__b"]


def test_an_address_has_outputs_of_a_name_that_the_system_takes() -> None:
    name = Input(f"https://example.org/{'x' * 400}.mp3?y=1").path
    assert (len(name.name), name.suffix) == (200, ".mp3")
