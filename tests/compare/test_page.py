"""The page: whole, offline, escaped, and with every figure, text and recording in it."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import soundfile

from maxwhisper_cli.compare.page import render_page, write_page
from maxwhisper_cli.compare.results import Comparison, Recording
from maxwhisper_cli.compare.runner import Outcome
from tests.compare.outcomes import compared, done, measured

VOID = {"meta", "rect"}


class Reader(HTMLParser):
    """Sees that what is opened is closed, and gathers addresses and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.starts: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [str(given[name]) for name in ("src", "href") if name in given]
        if given.get("data-start"):
            self.starts.append(str(given["data-start"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_a_page_needs_nothing_else(comparison: Comparison) -> None:
    page = render_page(comparison)
    reader = read(page)
    assert all(address.startswith("data:audio/mpeg;base64,") for address in reader.addresses)
    assert not re.search(r"https?://|@import|url\(|<link|<iframe", page)
    assert "default-src 'none'" in page


def test_the_recording_is_in_it(comparison: Comparison) -> None:
    (address,) = read(render_page(comparison)).addresses
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert rate == 16000
    assert len(sound) / rate == pytest.approx(8.0, abs=0.2)
    assert 0.1 < abs(sound).max() <= 1.1


def test_figures_and_failures_are_in_it(comparison: Comparison) -> None:
    text = " ".join(read(render_page(comparison)).text.split())
    assert "2.00 (1.00-4.00)" in text
    assert "unavailable: no NVIDIA driver on this machine" in text
    assert "failed: its process was ended by SIGKILL" in text
    assert "7.14 (" in text  # one word of 14
    assert "torch 2.13.0" in text


def test_bars_are_as_long_as_their_values(comparison: Comparison) -> None:
    page = render_page(comparison)
    assert re.findall(r'aria-label="cpu: ([^"]+)"><rect[^>]+><rect width="([\d.]+)%', page) == [
        ("2.00 s", "100.00"),
        ("4.0x", "40.00"),
        ("512", "100.00"),
    ]
    assert 'aria-label="full-max: 0.80 s"><rect width="100%"' in page
    assert "hybrid:" not in "".join(re.findall(r'aria-label="[^"]*"', page))


def test_differences_and_segments_are_in_it(comparison: Comparison) -> None:
    page = render_page(comparison)
    assert "<del>country</del> <ins>county</ins>" in page
    assert read(page).starts == ["0.0", "2.5"] * 2


def test_text_is_escaped(talk: str) -> None:
    evil = '<script>alert("x")</script> & more'
    page = render_page(
        compared(
            done("cpu", measured(talk, evil)),
            Outcome("hybrid", "failed", evil),
            recordings=(Recording(talk, evil),),
        )
    )
    assert page.count("<script>") == 1
    assert evil in read(page).text


def test_nothing_finished_is_a_page_too(talk: str) -> None:
    page = render_page(
        compared(Outcome("cpu", "failed", "why"), recordings=(Recording(talk, None),))
    )
    assert "failed: why" in read(page).text


def test_missing_recording_is_reported(comparison: Comparison, talk: str) -> None:
    Path(talk).unlink()
    reader = read(render_page(comparison))
    assert reader.addresses == []
    assert "The recording is not in this page" in reader.text


def test_it_is_written_whole(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    named = dataclasses.replace(
        comparison, work=dataclasses.replace(comparison.work, model="modèle")
    )
    write_page(path, named)
    assert "Whisper modèle" in path.read_text(encoding="utf-8")
