"""Formats read by other people's parsers: odd times and odd text come back as they were."""

import csv
import html
import io
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import av
import pysubs2
import pytest
import ttconv.imsc.reader
import ttconv.model
import webvtt
from markdown_it import MarkdownIt

from maxwhisper_cli.captions.captions import CaptionOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.writers.registry import WRITERS
from maxwhisper_cli.writers.render import render
from maxwhisper_cli.writers.text_direction import is_right_to_left
from tests.support.transcripts import segment, segment_of, transcript

Shown = tuple[float, float, str]
"""Start and end in seconds, and the text."""
HOUR = 3600.0
TIMES = [
    (0.0, 0.5),
    (59.99, 61.25),
    (61.25, 61.25),
    (HOUR - 0.01, HOUR + 1.5),
    (10 * HOUR - 0.01, 10 * HOUR + 1.5),
    (99 * HOUR, 100 * HOUR + 1.25),
    (123 * HOUR + 45 * 60 + 6.78, 123 * HOUR + 45 * 60 + 7.89),
]
TEXTS = [
    "plain",
    "",
    "Ham & eggs &amp; <b>x</b> <00:01.00>",
    "a --> b",
    "{x} {\\b1}bold} \\N \\n \\ end\\",
    "**bold** _it_ `code` [a](b) # 1. | $",
    '"quoted", with; commas\tand tabs',
    "two\nlines",
    "\u05e9\u05dc\u05d5\u05dd, \u200f\u05e2\u05d5\u05dc\u05dd\u200f!",
    "\u202b\u0645\u0631\u062d\u0628\u0627\u202c",
    "世界 🙂",
]


def shown_times(path: Path) -> list[Shown]:
    """Returns what FFmpeg's own readers, inside PyAV, find in a file."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.subtitles
        assert stream.time_base is not None
        return [
            (
                float(packet.pts * stream.time_base),
                float((packet.pts + (packet.duration or 0)) * stream.time_base),
                bytes(packet).decode().rstrip("\n"),
            )
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


def by_pysubs2(text: str, path: Path) -> list[Shown]:
    path.write_text(text, encoding="utf-8")
    subtitles = pysubs2.load(str(path))
    return [(e.start / 1000, e.end / 1000, e.plaintext) for e in subtitles]


def clock(text: str) -> float:
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def by_webvtt(text: str, path: Path) -> list[Shown]:
    path.write_text(text, encoding="utf-8")
    return [(clock(c.start), clock(c.end), c.text) for c in webvtt.read(str(path)).captions]


def by_ttconv(text: str, path: Path) -> list[Shown]:
    path.write_text(text, encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        document = ttconv.imsc.reader.to_model(ElementTree.parse(file))
    assert document is not None
    body = document.get_body()
    assert body is not None
    paragraphs = [each for each in body.dfs_iterator() if isinstance(each, ttconv.model.P)]
    return [(float(p.get_begin() or 0), float(p.get_end() or 0), ttml_text(p)) for p in paragraphs]


def ttml_text(element: ttconv.model.ContentElement) -> str:
    if isinstance(element, ttconv.model.Text):
        return element.get_text()
    if isinstance(element, ttconv.model.Br):
        return "\n"
    return "".join(ttml_text(child) for child in element)


def by_ffmpeg(text: str, path: Path) -> list[Shown]:
    path.write_text(text, encoding="utf-8")
    return shown_times(path)


Parser = Callable[[str, Path], list[Shown]]


@pytest.mark.parametrize("seconds", TIMES)
@pytest.mark.parametrize(
    ("name", "parser"),
    [
        ("srt", by_pysubs2),
        ("srt", by_ffmpeg),
        ("vtt", by_webvtt),
        ("vtt", by_ffmpeg),
        ("ass", by_ffmpeg),
        ("lrc", by_ffmpeg),
        ("ttml", by_ttconv),
        ("ttml", by_pysubs2),
    ],
)
def test_times(name: str, parser: Parser, seconds: tuple[float, float], tmp_path: Path) -> None:
    start, end = seconds
    if parser is by_pysubs2 and name == "srt" and end >= 100 * HOUR:
        pytest.skip("pysubs2 reads two digits of hours in srt")
    found = parser(render(transcript(segment(start, end, " text")), name), tmp_path / f"x.{name}")
    if parser is by_ttconv and start == end:
        assert found == []  # as TTML has it, what is shown for no time is not there
        return
    if name == "ass" and start == end and not found:
        return  # FFmpeg of PyAV 19 leaves it out, that of 18 does not
    if name == "lrc":  # a line has no end, but the next may be empty
        assert [each[2] for each in found] == ["text", ""]
        found = [(found[0][0], found[1][0], "text")]
    assert [each[:2] for each in found] == [pytest.approx(seconds, abs=0.0005)]


def made_of(texts: list[str], *, has_words: bool) -> Transcript:
    """Returns a segment for each text, ten seconds apart, as a single word or without any."""
    times = [(10.0 * i, 10.0 * i + 0.9) for i in range(len(texts))]
    if not has_words:
        return transcript(
            *(segment(*at, f" {text}") for at, text in zip(times, texts, strict=True))
        )
    return transcript(
        *(segment_of((f" {text}", *at)) for at, text in zip(times, texts, strict=True))
    )


def without_arrows(texts: list[str]) -> list[str]:
    return [text.replace("-->", "->") for text in texts]


def on_one_line(texts: list[str]) -> list[str]:
    return [" ".join(text.split()) for text in texts]


STYLED = CaptionOptions(style="netflix")
SHOWN = [text for text in TEXTS if text]
"""FFmpeg leaves out cues of srt without text."""
IN_STYLE = [text for text in on_one_line(without_arrows(TEXTS)) if text]
"""A style makes no cue of an empty text, and breaks lines itself."""


def test_texts_in_srt(tmp_path: Path) -> None:
    plain = render(made_of(TEXTS, has_words=False), "srt")
    assert texts_of(by_ffmpeg(plain, tmp_path / "x.srt")) == without_arrows(SHOWN)
    styled = render(made_of(TEXTS, has_words=True), "srt", STYLED)
    marked = [f"\u202b{t}\u202c" if is_right_to_left(t) else t for t in IN_STYLE]
    assert texts_of(by_ffmpeg(styled, tmp_path / "y.srt")) == marked
    assert marked != IN_STYLE


def test_texts_in_vtt(tmp_path: Path) -> None:
    plain = render(made_of(TEXTS, has_words=False), "vtt")
    assert texts_of(by_ffmpeg(plain, tmp_path / "x.vtt")) == without_arrows(TEXTS)
    path = tmp_path / "y.vtt"
    path.write_text(render(made_of(TEXTS, has_words=True), "vtt", STYLED), encoding="utf-8")
    assert [html.unescape(cue.raw_text) for cue in webvtt.read(str(path)).captions] == IN_STYLE
    assert "&lt;b&gt;" in path.read_text(encoding="utf-8")


def unescaped(text: str) -> str:
    """Returns the text that players with libass show; karaoke tags are left out."""
    text = re.sub(r"\{\\k\d+\}", "", text).replace(r"\N", "\n")
    return text.replace(r"\{", "{").replace(r"\}", "}").replace("\\\u2060", "\\")


@pytest.mark.parametrize("has_words", [False, True])
def test_texts_in_ass(tmp_path: Path, *, has_words: bool) -> None:
    written = render(made_of(TEXTS, has_words=has_words), "ass")
    found = texts_of(by_ffmpeg(written, tmp_path / "x.ass"))
    expected = TEXTS if has_words else without_arrows(TEXTS)
    assert [unescaped(text.split(",", 8)[-1]) for text in found] == expected


@pytest.mark.parametrize("has_words", [False, True])
def test_texts_in_ttml(tmp_path: Path, *, has_words: bool) -> None:
    found = by_ttconv(render(made_of(TEXTS, has_words=has_words), "ttml"), tmp_path / "x.ttml")
    lines = TEXTS if has_words else without_arrows(TEXTS)
    assert texts_of(found) == lines


@pytest.mark.parametrize("has_words", [False, True])
def test_texts_in_lrc(tmp_path: Path, *, has_words: bool) -> None:
    written = render(made_of(TEXTS, has_words=has_words), "lrc")
    found = texts_of(by_ffmpeg(written, tmp_path / "x.lrc"))
    lines = [re.sub(r"<\d\d:\d\d\.\d\d>", "", text).strip() for text in found[::2]]
    expected = on_one_line(TEXTS if has_words else without_arrows(TEXTS))
    assert [" ".join(text.split()) for text in lines] == [
        text.replace("<00:01.00>", "< 00:01.00>") for text in expected
    ]
    assert set(found[1::2]) == {""}


@pytest.mark.parametrize("seconds", TIMES)
def test_times_in_csv_and_md(seconds: tuple[float, float]) -> None:
    of = transcript(segment(*seconds, " text"))
    (row,) = csv.DictReader(io.StringIO(render(of, "csv")))
    assert (int(row["start"]) / 1000, int(row["end"]) / 1000) == seconds
    hours, minutes = divmod(int(seconds[0]) // 60, 60)
    shown = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    assert render(of, "md") == f"**{shown}:{int(seconds[0]) % 60:02d}** text\n"


def test_texts_in_csv() -> None:
    written = render(made_of(TEXTS, has_words=False), "csv")
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [row["text"] for row in rows] == TEXTS
    assert [(row["start"], row["end"]) for row in rows][:2] == [("0", "900"), ("10000", "10900")]


def test_texts_in_md() -> None:
    apart = [segment(10 * i, 10 * i + 1, f" {text}") for i, text in enumerate(TEXTS)]
    tokens = MarkdownIt().parse(render(transcript(*apart), "md"))
    found = [
        "".join(child.content for child in token.children or () if child.type.startswith("text"))
        for token in tokens
        if token.type == "inline"
    ]
    times = [f"{10 * i // 60}:{10 * i % 60:02d}" for i in range(len(TEXTS))]
    expected = [f"{at} {text}" for at, text in zip(times, on_one_line(TEXTS), strict=True) if text]
    assert found == expected
    assert [token.type for token in tokens[:3]] == ["paragraph_open", "inline", "paragraph_close"]


def test_characters_that_xml_cannot_hold_are_replaced(tmp_path: Path) -> None:
    found = by_ttconv(render(transcript(segment(0, 1, " a\x00b\x1b")), "ttml"), tmp_path / "x.ttml")
    assert texts_of(found) == ["a\ufffdb\ufffd"]


def test_no_text_at_all() -> None:
    empty = {name: render(transcript(), name) for name in WRITERS}
    assert empty["srt"] == empty["txt"] == empty["lrc"] == empty["md"] == ""
    assert empty["csv"] == "start,end,text\n"
    assert "Dialogue" not in empty["ass"]
    assert "<p" not in empty["ttml"]


def test_karaoke_tags_add_up_to_the_times() -> None:
    """Each word begins at its time to the hundredth, however many come before it."""
    at = [0.333 * index + 0.004 for index in range(41)]
    words = [(f" w{i}", at[i], at[i + 1] - (0.1 if i % 3 else 0.0)) for i in range(40)]
    subtitles = pysubs2.SSAFile.from_string(render(transcript(segment_of(*words)), "ass"))
    (event,) = subtitles
    assert event.plaintext == " ".join(f"w{i}" for i in range(40))
    elapsed, starts = round(event.start / 10), []
    for hundredths, text in re.findall(r"\{\\k(\d+)\}([^{]*)", event.text):
        if text.strip():
            starts.append(elapsed)
        elapsed += int(hundredths)
    assert starts == [round(100 * start) for start in at[:40]]
    assert elapsed == round(100 * words[-1][2])


def test_words_in_lrc_have_their_times() -> None:
    assert render(transcript(segment_of((" one", 1, 1.5), (" two", 61.5, 62))), "lrc") == (
        "[00:01.00]<00:01.00>one <01:01.50>two <01:02.00>\n[01:02.00]\n"
    )


def test_lrc_is_empty_only_in_silence() -> None:
    near = render(transcript(segment(0, 1, " a"), segment(1.1, 2, " b")), "lrc")
    assert near == "[00:00.00]a\n[00:01.10]b\n[00:02.00]\n"
    far = render(transcript(segment(0, 1, " a"), segment(1.5, 2, " b")), "lrc")
    assert far == "[00:00.00]a\n[00:01.00]\n[00:01.50]b\n[00:02.00]\n"


def test_speakers() -> None:
    of = transcript(
        segment_of((" Yes.", 0, 1), speaker="left"),
        segment_of((" No, & no.", 1, 2), speaker="right, \u2028far"),
        segment_of((" Oh.", 2, 3), speaker="left"),
    )
    assert render(of, "csv").splitlines()[1] == "0,1000,left,Yes."
    subtitles = pysubs2.SSAFile.from_string(render(of, "ass"))
    assert [event.name for event in subtitles] == ["left", "right far", "left"]
    assert render(of, "md").split("\n\n")[1] == "**0:01** *right, far:* No, \\& no."
    ttml = render(of, "ttml")
    assert ttml.count("<ttm:agent ") == 2
    assert re.findall(r'ttm:agent="(\w+)"', ttml) == ["speaker1", "speaker2", "speaker1"]


def test_right_to_left_is_stated_where_a_format_can() -> None:
    hebrew = transcript(segment(0, 1, " \u05e9\u05dc\u05d5\u05dd!"), segment(1, 2, " hello"))
    assert render(hebrew, "ttml").count('tts:direction="rtl"') == 1
    styles = pysubs2.SSAFile.from_string(render(hebrew, "ass")).styles
    assert {style.encoding for style in styles.values()} == {-1}
    words = transcript(segment_of((" \u05e9\u05dc\u05d5\u05dd!", 0, 1)))
    assert "\u202b\u05e9\u05dc\u05d5\u05dd!\u202c\n" in render(words, "srt", STYLED)
    both = CaptionOptions(style="netflix", highlight_words=True)
    assert "\u202b<u>\u05e9\u05dc\u05d5\u05dd!</u>\u202c\n" in render(words, "srt", both)
    assert "\u202b" not in render(words, "srt")  # openai-whisper's own
    latin = pysubs2.SSAFile.from_string(render(transcript(segment(0, 1, " a")), "ass")).styles
    assert {style.encoding for style in latin.values()} == {1}


def test_paragraphs_of_markdown_end_at_pauses_and_sentences() -> None:
    sentences = [segment(i, i + 1, f" Sentence {i} is as long as this.") for i in range(40)]
    later = segment(4000, 4001, " After an hour.")
    paragraphs = render(transcript(*sentences, later), "md").strip().split("\n\n")
    assert paragraphs[-1] == "**1:06:40** After an hour."
    assert 2 <= len(paragraphs[:-1]) <= 4
    assert all(len(paragraph) < 700 for paragraph in paragraphs)


def test_a_translation_is_english() -> None:
    german = transcript(segment(0, 1, " yes"))
    assert 'xml:lang="de"' in render(german, "ttml")
    assert 'xml:lang="en"' in render(german, "ttml", task="translate")


def texts_of(found: list[Shown]) -> list[str]:
    return [text for _, _, text in found]
