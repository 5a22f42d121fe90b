"""Files of caption styles: what they may hold, and errors that name the place."""

from pathlib import Path

import pytest

from maxwhisper_cli.captions.style import load_style
from maxwhisper_cli.transcription.option_types import OptionsError


@pytest.fixture
def style_file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def test_what_a_file_leaves_out_is_its_bases(style_file: Path) -> None:
    style_file.write_text(
        'base = "bbc"\nmax_line_characters = 30\n[costs]\ncue = 1.5\n'
        "[languages.cy]\nmax_lines = 3\n[languages.ja]\nmax_lines = 1\n",
        encoding="utf-8-sig",
    )
    style = load_style(style_file)
    assert style is not None
    assert style.name == str(style_file)
    assert style.limits.max_line_characters == 30
    assert style.limits.max_words_per_minute == 180
    assert (style.costs.cue, style.costs.sentence_inside) == (1.5, 12)
    assert style.limits_for("cy").max_lines == 3
    assert style.limits_for("cy").max_line_characters == 30
    assert style.limits_for("ja").max_lines == 1
    assert style.limits_for("ja").max_line_characters == 18


def test_an_empty_file_is_netflix(style_file: Path) -> None:
    style_file.touch()
    mine, netflix = load_style(style_file), load_style("netflix")
    assert mine is not None
    assert netflix is not None
    assert (mine.limits, mine.costs) == (netflix.limits, netflix.costs)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max_line_chars = 42", "'max_line_chars'; did you mean 'max_line_characters'?"),
        ("max_second = 7", "there is no key 'max_second'; did you mean 'max_seconds'?"),
        ("xyz = 1", "there is no key 'xyz'; known are max_line_characters, max_lines"),
        ("[cost]\ncue = 1", "there is no key 'cost'; did you mean 'costs'?"),
        ("[costs]\ncues = 1", "[costs]: there is no key 'cues'; did you mean 'cue'?"),
        ("[languages.fr]\nmax_line = 1", "[languages.fr]: there is no key 'max_line'; did you"),
        ("languages = 3", "[languages] must be a table, not 3"),
        ("[languages]\nfr = 3", "[languages.fr] must be a table, not 3"),
        ("max_lines = 0", "max_lines must be from 1 to 4, not 0"),
        ("max_lines = 1.5", "max_lines must be a whole number, not 1.5"),
        ('max_lines = "two"', "max_lines must be a whole number, not 'two'"),
        ("min_seconds = -1", "min_seconds must be from 0 to 3600, not -1"),
        ("max_seconds = inf", "max_seconds must be a finite number, not inf"),
        ("[costs]\npause = nan", "[costs]: pause must be a finite number, not nan"),
        ("[languages.en]\nmax_lines = 9", "[languages.en]: max_lines must be from 1 to 4, not 9"),
        ("min_seconds = 8", "max_seconds 7 is below min_seconds 8"),
        ("[languages.en]\nmin_seconds = 8", "max_seconds 7 is below min_seconds 8"),
        ('base = "netflx"', "base is netflix or bbc, not 'netflx'; did you mean 'netflix'?"),
        ("base = 3", "base is netflix or bbc, not 3"),
        ("max_lines =", "is no TOML: Invalid value (at end of document)"),
        ("a = 1\na = 2", "is no TOML: Cannot overwrite a value (at "),
    ],
)
def test_mistakes_in_a_file(style_file: Path, content: str, expected: str) -> None:
    style_file.write_text(content, encoding="utf-8")
    with pytest.raises(OptionsError) as caught:
        load_style(style_file)
    assert str(style_file) in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("netflx", "no caption style 'netflx'; did you mean 'netflix'?; choose none, netflix, bbc"),
        ("", "no caption style ''; choose none, netflix, bbc or FILE.toml"),
        ("missing.toml", "cannot read the caption style missing.toml: No such file"),
        (".toml", "no caption style '.toml'"),
        ("a\0.toml", "no TOML: embedded null"),
    ],
)
def test_styles_that_are_not_there(name: str, expected: str) -> None:
    with pytest.raises(OptionsError) as caught:
        load_style(name)
    assert expected in str(caught.value)


def test_files_that_are_no_text(style_file: Path) -> None:
    style_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionsError, match="is no TOML: 'utf-8' codec"):
        load_style(style_file)
    style_file.unlink()
    style_file.mkdir()
    with pytest.raises(OptionsError, match="Is a directory"):
        load_style(style_file)
