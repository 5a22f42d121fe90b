"""Captions of every further recording: openai-whisper's lines, and styles that lose no text."""

from pathlib import Path

import pytest

from maxwhisper_cli.captions.captions import CaptionOptions, make_captions
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded
from tests.support.upstream_writers import assert_equal_in_all_combinations

SPEECH_MAY_BREAK = ("faster than", "splitting a phrase")
"""Rules that no layout can keep where people speak fast; all others hold for every cue."""


@pytest.mark.full
def test_every_shared_file(shared_audio_file: Path) -> None:
    options = TranscribeOptions(beam_size=None, temperatures=(0.0,), word_timestamps=True)
    of = loaded.model("base", "cpu").transcribe(shared_audio_file, options)
    assert_equal_in_all_combinations(of)
    for style in ("netflix", "bbc"):
        captions = make_captions(of, CaptionOptions(style=style))
        shown = "".join(cue.text for cue in captions.cues)
        assert "".join(shown.split()) == "".join(of.text.split())
        assert [rule for rule in captions.broken if not rule.startswith(SPEECH_MAY_BREAK)] == []
