"""Captions without a style: byte for byte openai-whisper's, for all combinations of options."""

import random
from typing import Any

import pytest

from maxwhisper_cli.captions.captions import CaptionOptions, make_captions
from maxwhisper_cli.transcription.option_types import OptionsError
from maxwhisper_cli.transcription.segments import Transcript, Word
from maxwhisper_cli.writers.render import render
from tests.support.transcripts import (
    segment,
    segment_of,
    spoken,
    transcript,
)
from tests.support.upstream_writers import (
    UPSTREAM,
    assert_equal_in_all_combinations,
    upstream_writes,
)


def test_real_speech(speech: Transcript) -> None:
    assert len(speech.segments) >= 2
    assert sum(len(each.words or ()) for each in speech.segments) > 20
    assert_equal_in_all_combinations(speech)


def random_words(chance: random.Random, start: float) -> list[tuple[str, float, float]]:
    texts = [
        " a",
        " word",
        " antidisestablishment",
        "ab",
        " two\nlines",
        " -->",
        "",
        " ",
        "\n",
        "世",
    ]
    words = []
    for _ in range(chance.randint(0, 12)):
        pause = chance.choice([0.0, 0.0, 0.0, 0.2, 0.0004, 3.0, 3.001, 8.0])
        end = start + pause + chance.choice([0.0, 0.0004, 0.3, 1.2])
        words.append((chance.choice(texts), start + pause, end))
        start = end
    return words


@pytest.mark.parametrize("seed", range(20))
def test_generated_text(seed: int) -> None:
    chance = random.Random(seed)
    at = chance.choice([0.0, 3599.0, 360_000.5])
    segments = []
    for _ in range(chance.randint(1, 6)):
        words = tuple(Word(*word, 0.5) for word in random_words(chance, at))
        at = words[-1].end if words else at
        text = "".join(word.word for word in words)
        segments.append(segment(words[0].start if words else at, at, text, words=words))
    assert_equal_in_all_combinations(transcript(*segments))


def test_text_without_words_and_no_text() -> None:
    for of in (transcript(), transcript(segment_of((" a", 0, 1)))):
        assert_equal_in_all_combinations(of)
    plain = transcript(segment(0, 1, " a --> b"), segment(1, 1, ""), segment(1, 9e5, "c\nd"))
    for name in UPSTREAM:
        assert render(plain, name) == upstream_writes(name, plain)


def test_zero_is_no_limit_as_in_openai_whisper() -> None:
    options: dict[str, Any] = {"max_line_width": 0, "max_line_count": 0, "max_words_per_line": 0}
    of = transcript(spoken("one two three four"))
    for name in UPSTREAM:
        assert render(of, name, CaptionOptions(**options)) == upstream_writes(name, of, **options)


def test_a_cue_has_one_speaker() -> None:
    of = transcript(
        segment_of((" yes", 0, 1), speaker="left"),
        segment_of((" no", 1, 2), (" no", 2, 3), speaker="right"),
    )
    cues = make_captions(of, CaptionOptions(max_line_width=42, max_line_count=2)).cues
    assert [(cue.text, cue.speaker) for cue in cues] == [("yes", "left"), ("no no", "right")]


def test_words_joined_are_the_text(speech: Transcript) -> None:
    for cue in make_captions(speech, CaptionOptions(max_line_width=20, max_line_count=2)).cues:
        assert "".join(word.word for word in cue.words) == cue.text
        assert all(len(line) <= 20 for line in cue.lines)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_line_count": 2}, ["--max_line_count has no effect without --max_line_width"]),
        (
            {"max_line_width": 9, "max_words_per_line": 2},
            ["--max_words_per_line has no effect with --max_line_width"],
        ),
        ({"max_line_width": 9, "max_line_count": 2}, []),
    ],
)
def test_options_without_effect_are_named(options: dict[str, Any], expected: list[str]) -> None:
    assert list(CaptionOptions(**options).warnings) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_line_width": -1}, "max_line_width must be from 0"),
        ({"max_line_count": 1.5}, "max_line_count must be a whole number"),
        ({"highlight_words": "yes"}, "highlight_words must be True or False"),
        ({"max_line_width": 42, "style": "bbc"}, "max_line_width does not go with a caption style"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(OptionsError, match=expected):
        CaptionOptions(**options)


@pytest.mark.parametrize(
    "options",
    [{"highlight_words": True}, {"max_line_width": 9}, {"max_words_per_line": 9}, {"style": "bbc"}],
)
def test_options_that_need_words(options: dict[str, Any]) -> None:
    without = transcript(segment(0, 1, " a"))
    (name,) = options
    with pytest.raises(OptionsError, match=f"{name} needs word times"):
        render(without, "srt", CaptionOptions(**options))
