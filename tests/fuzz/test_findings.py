"""Findings of campaigns, as the smallest input that shows each."""

import gzip
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from implementations.max_graph import artifacts
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.audio.stream import AudioError
from maxwhisper_cli.audio.timeline import Timeline
from maxwhisper_cli.inputs.expand import expand, read_list
from maxwhisper_cli.inputs.input import InputError
from maxwhisper_cli.inputs.manifest import read_manifest
from weights.detect import read_checkpoint
from weights.errors import WeightsError
from weights.onnx import read_initializers


def test_a_caf_chunk_beyond_what_a_file_can_be(tmp_path: Path) -> None:
    """Sizes of chunks have 64 bits; the next one would begin where no file reaches."""
    path = tmp_path / "x.caf"
    path.write_bytes(b"caff\0\1\0\0desc" + struct.pack(">Q", 2**63 - 1) + bytes(64))
    with pytest.raises(AudioError), open_audio(str(path)) as audio:
        audio.read()


@pytest.mark.parametrize(("n_bytes", "expected"), [(20_000, 0.0), (10**7, 90_000.0)])
def test_a_small_file_does_not_begin_with_a_day_of_silence(n_bytes: int, expected: float) -> None:
    """A damaged time of 20 kB of MPEG-TS was followed by 26 hours of silence, 6 GB of samples."""
    warnings: list[str] = []
    container: Any = SimpleNamespace(start_time=0, duration=95_000 * 10**6, size=n_bytes)
    timeline = Timeline(container, "mpegts", "x.ts", warnings.append)
    assert timeline.gap(90_000.0, 0.0) == expected
    assert len(warnings) == (expected == 0.0)


def test_a_record_nested_too_deeply_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path))
    folder = artifacts.compiled_folder()
    folder.mkdir()
    (folder / "0.mef").write_bytes(b"graphs")
    (folder / "0.json").write_text("[" * 100_000)
    (stored,) = artifacts.stored_artifacts()
    assert stored.request is None


def test_a_vocabulary_of_two_thousand_million_words(tmp_path: Path) -> None:
    """Words of no bytes, as many as a header may count, took minutes in a large file of zeros."""
    from tests.support.checkpoints import SMALL_DIMS
    from tests.support.ggml import header_bytes, vocabulary

    n_words = 2**31 - 1
    header = bytearray(header_bytes(SMALL_DIMS))
    words = sum(4 + len(word) for word in vocabulary("gpt2"))
    header[4:8] = struct.pack("<i", n_words)
    header[-words - 4 : -words] = struct.pack("<i", n_words)
    path = tmp_path / "ggml-x.bin"
    path.write_bytes(bytes(header) + bytes(1000))
    with pytest.raises(WeightsError, match="2147483647 words"):
        read_checkpoint(path)


def test_a_packed_manifest_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    data = bytearray(gzip.compress(b'{"audio_filepath": "a.wav"}\n' * 20))
    data[10] = 0x07  # a block of a type that there is not
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(path)


@pytest.mark.parametrize("line", ["*\0.wav", "[" * 5000], ids=["null", "brackets"])
def test_a_pattern_that_no_system_has_matches_nothing(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(f"{line}\n")
    assert read_list(path) == [line]
    (each,) = expand([line])
    assert "matches no file" in str(each.problem)


def test_a_number_in_the_place_of_a_graph_is_no_graph(tmp_path: Path) -> None:
    """Each of many numbers led back to the beginning: minutes for 40 kB."""
    path = tmp_path / "x.onnx"
    path.write_bytes(bytes([7 << 3, 0]) * 20_000)
    with pytest.raises(WeightsError, match="not an ONNX file with weights"):
        read_initializers(path)
