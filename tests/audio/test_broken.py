"""Errors and warnings of `open_audio` for sources that are broken or no sound."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio import decode as audio_decode
from maxwhisper_cli.audio.reader import AudioError, open_audio
from tests.support.sound import encode, tone

RATE = 16000


def read_samples(path: Path) -> tuple[np.ndarray, list[str]]:
    with open_audio(path) as audio:
        return audio.read(), audio.warnings


def refusal(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        open_audio(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_missing(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.wav")


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_path_through_a_file(jfk: Path) -> None:
    assert "cannot be opened" in refusal(jfk / "inside.wav")


def test_name_that_no_file_can_have() -> None:
    with pytest.raises(AudioError, match="cannot be opened"):
        open_audio("a\0b.wav")


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    soundfile.write(path, tone(440, 1.0, RATE), RATE)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: be somebody else for a moment
        tmp_path.chmod(0o755)
        for parent in list(tmp_path.parents)[:2]:
            parent.chmod(0o755)
        os.seteuid(65534)
    try:
        message = refusal(path)
    finally:
        os.seteuid(user)
    assert "may not be read" in message


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert "0 bytes" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("extension", ["wav", "mp3", "m4a", "flac", "ogg", "raw", "txt", ""])
@pytest.mark.parametrize(
    "content",
    [b"There is no sound in this, only words.\n" * 300, np.random.default_rng(1).bytes(20000)],
    ids=["text", "random"],
)
def test_no_audio_inside(tmp_path: Path, extension: str, content: bytes) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_bytes(content)
    assert re.search("is not audio or video|has no sound|cannot|nothing can", refusal(path))


@pytest.mark.parametrize("extension", ["g722", "gsm"])
@pytest.mark.parametrize("line", ["There is no sound in this.", "Здесь нет звука, только слова."])
def test_text_under_a_headerless_extension(tmp_path: Path, extension: str, line: str) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_text(f"{line}\n" * 300)
    assert "is text, not audio" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:5,\n{name}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{name}'\n",
    ],
    ids=["hls", "concat"],
)
def test_a_playlist_opens_no_other_file(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(tmp_path / "other.mp4", "mp4", "aac")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.m3u8").write_text(content.format(name="other.mp4"))
    assert "is not audio or video" in refusal(tmp_path / "list.m3u8")


def test_video_without_sound(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "mp4", None, video=True)
    assert "only video" in refusal(path)


def test_header_without_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), RATE)
    samples, warnings = read_samples(tmp_path / "a.wav")
    assert len(samples) == 0
    assert [w.endswith("its length is zero") for w in warnings] == [True]


def test_silence_and_ten_milliseconds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE, np.float32), RATE)
    samples, warnings = read_samples(tmp_path / "a.wav")
    assert (len(samples), np.abs(samples).max(), warnings) == (RATE, 0.0, [])
    soundfile.write(tmp_path / "b.wav", tone(440, 0.01, 44100), 44100)
    samples, warnings = read_samples(tmp_path / "b.wav")
    assert (len(samples), warnings) == (160, [])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_samples_that_are_no_numbers(tmp_path: Path, bad: float, rate: int) -> None:
    sound = np.stack([tone(440, 10.0, rate), tone(440, 10.0, rate)], axis=1)
    sound[int(7.25 * rate) : int(7.25 * rate) + 5, 1] = bad
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    samples, warnings = read_samples(tmp_path / "a.wav")
    assert np.all(np.abs(samples) < 1)
    assert len(warnings) == 1
    assert "at 7.25 s: 5;" in warnings[0]
    array = np.full(5 * RATE, bad, np.float32)  # several blocks
    with open_audio(array) as audio:
        assert not audio.read().any()
    assert np.all(array == bad) or np.isnan(array).all()


def test_samples_beyond_full_scale_are_unchanged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 1.0, RATE) * 10, RATE, subtype="FLOAT")
    samples, warnings = read_samples(tmp_path / "a.wav")
    assert samples.max() > 2
    assert warnings == []


def cut(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("extension", ["wav", "aiff", "flac", "mp3", "mkv", "ogg"])
def test_cut_off(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    rng = np.random.default_rng(0)
    if extension == "mkv":
        encode(path, "matroska", "aac")
    else:
        soundfile.write(path, (rng.standard_normal(8 * RATE) * 0.1).astype(np.float32), RATE)
    full, warnings = read_samples(path)
    assert warnings == []
    samples, warnings = read_samples(cut(path))
    assert 0.3 * len(full) < len(samples) < 0.6 * len(full)
    assert len(warnings) == 1
    assert re.search("cut off|could be read up to", warnings[0])


def test_cut_off_between_two_pages(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.ogg", rng.standard_normal(8 * RATE) * 0.1, RATE)
    data = (tmp_path / "a.ogg").read_bytes()
    (tmp_path / "a.ogg").write_bytes(data[: data.rfind(b"OggS")])
    samples, warnings = read_samples(tmp_path / "a.ogg")
    assert len(samples) > RATE
    assert len(warnings) == 1
    assert "may be cut off" in warnings[0]


def test_cut_off_before_its_index(tmp_path: Path) -> None:
    """An m4a keeps its index at the end: without it nothing can be decoded."""
    assert "its end is missing" in refusal(cut(encode(tmp_path / "a.m4a", "ipod", "aac")))


@pytest.mark.parametrize("extension", ["mkv", "mp3"])
def test_damage_in_the_middle(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    if extension == "mkv":
        encode(path, "matroska", "aac")
    else:
        soundfile.write(path, tone(440, 8.0, RATE), RATE)
    full, _ = read_samples(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(2).bytes(2000)
    path.write_bytes(data)
    samples, _ = read_samples(path)
    assert len(samples) > 0.4 * len(full)


def test_nothing_is_written_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.mp3", tone(440, 8.0, RATE), RATE)
    read_samples(cut(tmp_path / "a.mp3"))
    (tmp_path / "b.mp3").write_bytes(np.random.default_rng(1).bytes(20000))
    refusal(tmp_path / "b.mp3")
    assert capfd.readouterr() == ("", "")


def test_a_rate_that_cannot_be_resampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440, 1.0, RATE), RATE)
    original = audio_decode.decode
    monkeypatch.setattr(
        "maxwhisper_cli.audio.reader.decode",
        lambda *args: dataclasses.replace(original(*args), sample_rate=0),
    )
    with open_audio(path) as audio, pytest.raises(AudioError, match="sample rate of 0 Hz"):
        audio.read()


def test_files_are_closed(jfk: Path, tmp_path: Path) -> None:
    def n_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    (tmp_path / "a.wav").write_bytes(b"nothing")
    container = encode(tmp_path / "a.m4a", "ipod", "aac")
    before = n_open()
    for path in (jfk, container):
        with open_audio(path) as audio:
            next(iter(audio))
        with pytest.raises(AudioError):
            open_audio(path, 9)
    refusal(tmp_path / "a.wav")
    assert n_open() == before
