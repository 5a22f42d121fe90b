"""Manifests of every kind, and lines that make no sense."""

import gzip
import json
from pathlib import Path

import pytest

from maxwhisper_cli.inputs.input import InputError
from maxwhisper_cli.inputs.manifest import read_manifest

ENTRIES = [
    {"audio_filepath": "a.wav", "duration": 12.5, "text": "what was said", "speaker": 7},
    {"audio_filepath": "a.wav", "offset": 3, "duration": 2, "language": "Spanish", "id": "second"},
    {"path": "https://example.org/b.mp3", "lang": "de", "offset": None, "extra": {"x": [1]}},
]


def check(path: Path) -> None:
    inputs = read_manifest(path)
    assert [each.source for each in inputs] == ["a.wav", "a.wav", "https://example.org/b.mp3"]
    assert [each.is_excerpt for each in inputs] == [False, True, False]
    assert [each.start_seconds for each in inputs] == [0.0, 3.0, 0.0]
    assert [each.duration_seconds for each in inputs] == [12.5, 2.0, None]
    assert [each.language for each in inputs] == [None, "es", "de"]
    assert [each.stem for each in inputs] == [None, "second", None]
    assert inputs[0].fields["speaker"] == 7
    assert inputs[2].fields["extra"] == {"x": [1]}


def test_json_lines(tmp_path: Path) -> None:
    text = "\n".join(map(json.dumps, ENTRIES)) + "\n\n"
    (tmp_path / "in.jsonl").write_text("\ufeff" + text, encoding="utf-8")
    check(tmp_path / "in.jsonl")
    with gzip.open(tmp_path / "in.JSONL.gz", "wt") as file:
        file.write(text)
    check(tmp_path / "in.JSONL.gz")


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is installed by those who need it")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ENTRIES, pyarrow.schema([
        ("audio_filepath", pyarrow.string()), ("path", pyarrow.string()),
        ("duration", pyarrow.float64()), ("offset", pyarrow.int64()),
        ("language", pyarrow.string()), ("lang", pyarrow.string()), ("id", pyarrow.string()),
        ("speaker", pyarrow.int32()),
        ("extra", pyarrow.struct([("x", pyarrow.list_(pyarrow.int8()))])),
    ])), tmp_path / "in.parquet")  # fmt: skip
    check(tmp_path / "in.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(InputError, match=r"bad\.parquet cannot be read"):
        read_manifest(tmp_path / "bad.parquet")


def test_lists_look_beside_themselves(tmp_path: Path) -> None:
    (tmp_path / "near.wav").touch()
    (tmp_path / "list.txt").write_text("# all\nnear.wav\ngone.wav\n/abs.wav\n")
    inputs = read_manifest(tmp_path / "list.txt")
    assert [each.source for each in inputs] == [str(tmp_path / "near.wav"), "gone.wav", "/abs.wav"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is no JSON"),
        ("[" * 100_000, "line 2 is no JSON"),
        ("[1]", "line 2 is no JSON object"),
        ("{}", "names no recording"),
        ('{"audio_filepath": 3}', "names no recording"),
        ('{"audio_filepath": "a\\u0000"}', "names no recording"),
        ('{"audio_filepath": "a", "offset": -1}', "offset is -1, and must be a number"),
        ('{"audio_filepath": "a", "duration": "5"}', "duration is '5'"),
        ('{"audio_filepath": "a", "duration": true}', "duration is True"),
        ('{"audio_filepath": "a", "duration": 1e999}', "duration is inf"),
        ('{"audio_filepath": "a", "language": "xx"}', "line 2: .*xx"),
        ('{"audio_filepath": "a", "language": 5}', "language is no text"),
        ('{"audio_filepath": "a", "id": []}', "id is neither"),
        ("\ud800", "not text in UTF-8"),
    ],
)
def test_lines_that_make_no_sense(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "in.jsonl"
    text = f'{{"audio_filepath": "fine.wav"}}\n{line}\n'
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match=message):
        read_manifest(path)


@pytest.mark.parametrize("name", ["gone.jsonl", "", "empty.jsonl", "cut.jsonl.gz", "no.gz"])
def test_manifests_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.jsonl").touch()
    packed = gzip.compress(b'{"audio_filepath": "a"}\n' * 1000)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-20])
    (tmp_path / "no.gz").write_bytes(b"not packed")
    with pytest.raises(InputError, match="the manifest"):
        read_manifest(tmp_path / name)
