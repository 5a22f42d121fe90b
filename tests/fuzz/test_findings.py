"""Findings of campaigns, as the smallest input that shows each."""

import struct
from pathlib import Path

import pytest

from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.audio.stream import AudioError


def test_a_caf_chunk_beyond_what_a_file_can_be(tmp_path: Path) -> None:
    """Sizes of chunks have 64 bits; the next one would begin where no file reaches."""
    path = tmp_path / "x.caf"
    path.write_bytes(b"caff\0\1\0\0desc" + struct.pack(">Q", 2**63 - 1) + bytes(64))
    with pytest.raises(AudioError), open_audio(str(path)) as audio:
        audio.read()
