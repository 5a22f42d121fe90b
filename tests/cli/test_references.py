"""References: of any Unicode encoding, and never a transcript that this program wrote."""

import codecs
import json
from pathlib import Path

import pytest

from maxwhisper_cli.compare.accuracy import accuracy
from maxwhisper_cli.compare.references import read_text, text_beside, with_reference
from maxwhisper_cli.compare.results import ComparisonError
from tests.cli.conftest import MakeSound, RunCommandLine

WORDS = "Ask not\nwhat your country can do. Grüße, 世界."
ENCODINGS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (b"", "utf-8"),
]


@pytest.mark.parametrize(("mark", "encoding"), ENCODINGS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_are_no_words(
    tmp_path: Path, mark: bytes, encoding: str, line_end: str
) -> None:
    path = tmp_path / "talk.txt"
    path.write_bytes(mark + (WORDS.replace("\n", line_end) + line_end).encode(encoding))
    assert read_text(path) == WORDS
    found = accuracy(read_text(path), WORDS, "en")
    assert found.wer is not None
    assert found.wer.rate == 0


@pytest.mark.parametrize("data", [WORDS.encode("latin-1", "replace"), WORDS.encode("utf-16-le")])
def test_text_that_is_not_unicode_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "talk.txt"
    path.write_bytes(data)
    with pytest.raises(ComparisonError, match="UTF-8"):
        read_text(path)


def test_a_folder_is_no_reference(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="cannot be read: Is a directory"):
        with_reference("talk.wav", tmp_path)


@pytest.mark.parametrize("formats", ["txt", "all"])
def test_an_own_transcript_is_no_reference(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    formats: str,
) -> None:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    path = sound("talk.wav")
    assert maxwhisper("transcribe", path, "-f", formats, "-o", path.parent).exit_code == 0
    beside = with_reference(str(path), None)
    assert beside.reference is None
    assert "is a transcript as this program writes them" in str(beside.reference_warning)
    chosen = with_reference(str(path), text_beside(str(path)))
    assert chosen.reference == "Grüße, 世界."
    assert "errors mean little" in str(chosen.reference_warning)
    text_beside(str(path)).write_text("Grüße, Welt.\n", encoding="utf-8")  # somebody corrects it
    corrected = with_reference(str(path), None)
    assert (corrected.reference, corrected.reference_warning) == ("Grüße, Welt.", None)


def test_a_transcript_from_another_machine_is_known_by_the_json_beside_it(tmp_path: Path) -> None:
    (tmp_path / "talk.txt").write_text("Ask not\nwhat\n")
    for text, is_own in (("Ask not what", True), ("Ask what", False)):
        (tmp_path / "talk.json").write_text(json.dumps({"text": text, "segments": []}))
        found = with_reference(str(tmp_path / "talk.wav"), None)
        assert (found.reference is None) is is_own
    (tmp_path / "talk.json").write_text("[" * 100_000)
    assert with_reference(str(tmp_path / "talk.wav"), None).reference == "Ask not\nwhat"


def test_a_recording_without_a_text_has_no_reference(tmp_path: Path) -> None:
    found = with_reference(str(tmp_path / "talk.wav"), None)
    assert (found.reference, found.reference_warning) == (None, None)
    assert text_beside("a.b/..") == Path("a.b/...txt")
