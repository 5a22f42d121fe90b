"""`full-max` stands without PyTorch: a transcription in a fresh process imports none of it."""

from pathlib import Path

import pytest

from tests.support.fresh_process import imported_by

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")


def test_transcribes_without_importing_torch(jfk: Path) -> None:
    text, imported = imported_by("full-max", jfk, "torch", "whisper", "max.nn")
    assert "ask not what your country can do for you" in text
    assert imported == ""
