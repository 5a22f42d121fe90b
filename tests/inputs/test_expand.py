"""Arguments as inputs: folders, patterns, lists; and the names of their outputs."""

import random
from pathlib import Path

import pytest

from maxwhisper_cli.inputs.expand import expand
from maxwhisper_cli.inputs.input import Input, InputError
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
    with pytest.raises(InputError, match=message):
        expand([argument])


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
    with pytest.raises(InputError, match="go on and on"):
        expand(["@loop"])


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
