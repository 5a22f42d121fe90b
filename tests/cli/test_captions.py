"""Captions on the command line: openai-whisper's options of lines, and styles."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FakeModels, MakeSound, RunCommandLine, names, says

TEXT = " The old harbour lies behind the town, and from there you can see the ships."


@pytest.fixture
def talk(models: FakeModels, sound: MakeSound) -> Path:
    """1 s in which the scripted model finds a whole sentence."""
    models.script = says(TEXT, models.dims)
    return sound()


def lines_of(path: str) -> list[str]:
    cues = Path(path).read_text(encoding="utf-8").strip().split("\n\n")
    return [line for cue in cues for line in cue.split("\n")[2:]]


def test_lines_of_openai_whisper(maxwhisper: RunCommandLine, talk: Path) -> None:
    options = "--word_timestamps True --max_line_width 20 --max_line_count 2 -f srt,vtt"
    done = maxwhisper("transcribe", talk, *options.split())
    assert done.exit_code == 0
    lines = lines_of("talk.srt")
    assert " ".join(lines) == TEXT.strip()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 20
    assert "captions" not in done.stderr


def test_highlighted_words(maxwhisper: RunCommandLine, talk: Path) -> None:
    done = maxwhisper("transcribe", talk, "--word_timestamps", "--highlight_words", "-f", "vtt")
    assert done.exit_code == 0
    written = Path("talk.vtt").read_text(encoding="utf-8")
    assert written.count("<u>") >= len(TEXT.split())
    assert "<u>harbour</u> lies" in written


def test_a_style_asks_for_word_times_and_reports(maxwhisper: RunCommandLine, talk: Path) -> None:
    formats = "srt,vtt,lrc,ass,ttml,json"
    done = maxwhisper("transcribe", talk, "--caption-style", "netflix", "-f", formats)
    assert done.exit_code == 0
    assert names(Path()) == sorted(f"talk.{name}" for name in formats.split(","))
    assert "talk.wav: captions (netflix): " in done.stderr
    assert "faster than 20 characters a second" in done.stderr
    assert max(map(len, lines_of("talk.srt"))) <= 42
    assert " ".join(lines_of("talk.srt")) == TEXT.strip()
    assert r"{\k" in Path("talk.ass").read_text(encoding="utf-8")
    assert json.loads(Path("talk.json").read_bytes())["segments"][0]["words"]


def test_a_style_on_stdout(maxwhisper: RunCommandLine, talk: Path) -> None:
    done = maxwhisper("transcribe", talk, "--caption-style", "bbc", "-f", "srt", "-o", "-")
    assert done.exit_code == 0
    assert done.stdout.startswith("1\n00:00:00,")
    assert "captions (bbc): " in done.stderr


def test_a_style_of_several_files_together(
    maxwhisper: RunCommandLine, talk: Path, sound: MakeSound
) -> None:
    options = "--caption-style netflix --batch-size 4 -f srt"
    done = maxwhisper("transcribe", talk, sound("other.wav"), *options.split())
    assert done.exit_code == 0
    assert lines_of("talk.srt") == lines_of("other.srt")
    assert "other.wav: captions (netflix): " in done.stderr


def test_a_style_from_a_file(maxwhisper: RunCommandLine, talk: Path) -> None:
    Path("mine.toml").write_text("max_line_characters = 12\nmax_lines = 1\n", encoding="utf-8")
    done = maxwhisper("transcribe", talk, "--caption-style", "mine.toml", "-f", "srt")
    assert done.exit_code == 0
    assert max(map(len, lines_of("talk.srt"))) <= 12
    assert "captions (mine.toml): " in done.stderr


def test_quiet_prints_no_report(maxwhisper: RunCommandLine, talk: Path) -> None:
    done = maxwhisper("transcribe", talk, "--caption-style", "netflix", "-f", "srt", "-q")
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--max_line_count 2", "--max_line_count has no effect without --max_line_width"),
        (
            "--max_line_width 40 --max_words_per_line 3",
            "--max_words_per_line has no effect with --max_line_width",
        ),
    ],
)
def test_options_without_effect(
    maxwhisper: RunCommandLine, talk: Path, arguments: str, expected: str
) -> None:
    done = maxwhisper("transcribe", talk, "--word_timestamps", "True", *arguments.split())
    assert done.exit_code == 0
    assert f"warning: {expected}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--highlight_words True", "--highlight_words requires --word_timestamps True"),
        ("--max_line_width 42", "--max_line_width requires --word_timestamps True"),
        ("--max_line_count 2", "--max_line_count requires --word_timestamps True"),
        ("--max_words_per_line 5", "--max_words_per_line requires --word_timestamps True"),
        ("--max_line_width -1", "'-1' is below 0"),
        ("--max_line_width wide", "'wide' is neither a whole number nor None"),
        ("--caption-style netflx", "no caption style 'netflx'; did you mean 'netflix'?"),
        ("--caption-style mine.toml", "cannot read the caption style mine.toml"),
        ("--caption-style bbc --max_line_width 42", "does not go with a caption style"),
    ],
)
def test_usage_errors(
    maxwhisper: RunCommandLine, talk: Path, arguments: str, expected: str
) -> None:
    done = maxwhisper("transcribe", talk, *arguments.split())
    assert (done.exit_code, names(Path())) == (2, [])
    assert expected in " ".join(done.stderr.split())


def test_none_and_zero_are_openai_whispers_own(maxwhisper: RunCommandLine, talk: Path) -> None:
    options = "--caption-style none --max_line_width 0 --max_line_count None -f srt"
    done = maxwhisper("transcribe", talk, *options.split())
    assert done.exit_code == 0
    assert lines_of("talk.srt") == [TEXT.strip()]
