"""Real speech with the times of its words."""

from pathlib import Path

import pytest

from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from tests.support import loaded


@pytest.fixture(scope="session")
def speech(jfk: Path) -> Transcript:
    """11 s of speech with the times of its words, which equal openai-whisper's (other tests)."""
    options = TranscribeOptions(beam_size=None, temperatures=(0.0,), word_timestamps=True)
    return loaded.model("tiny.en", "cpu").transcribe(jfk, options)
