"""A family of files, codec x container x damage x lies of headers, beside FFmpeg's own decoding.

Each member is made by chance, repeatably by its number: 6 s of noise in one of the formats, joined,
tagged, cut, overwritten, or with other sizes in its header. The reader must give what FFmpeg gives
and never less in silence. Two members of each pair of format and change run by default; with the
marker `full` forty do.
"""

import io
import random
from collections.abc import Callable

import av
import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio.reader import AudioError, open_audio
from tests.support.sound import write_track

RATE = 16000
SECONDS = 6
MIN_SECONDS = 0.5
"""Less than this of sound may be found by one reader alone: where a frame begins is a guess."""
TOLERANCE_SECONDS = 0.15
"""Delay and padding of encoders, and a frame at each place of damage."""

SOUNDFILE_FORMATS = {
    "wav-16": ("WAV", "PCM_16"),
    "wav-24": ("WAV", "PCM_24"),
    "wav-float": ("WAV", "FLOAT"),
    "wav-ulaw": ("WAV", "ULAW"),
    "wav-adpcm": ("WAV", "IMA_ADPCM"),
    "wavex": ("WAVEX", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "flac-24": ("FLAC", "PCM_24"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
MP4_IN_PIECES = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}
FFMPEG_FORMATS: dict[str, tuple[str, str, dict[str, str]]] = {
    "mp3": ("mp3", "libmp3lame", {}),
    "mp3-without-count": ("mp3", "libmp3lame", {"write_xing": "0"}),
    "mp2": ("mp2", "mp2", {}),
    "aac": ("adts", "aac", {}),
    "m4a": ("ipod", "aac", {}),
    "mp4-fast": ("mp4", "aac", {"movflags": "faststart"}),
    "mp4-pieces": (
        "mp4",
        "aac",
        MP4_IN_PIECES,
    ),
    "mov-pcm": ("mov", "pcm_s16le", {}),
    "mkv": ("matroska", "aac", {}),
    "mkv-flac": ("matroska", "flac", {}),
    "mkv-pcm": ("matroska", "pcm_s16le", {}),
    "webm": ("webm", "libopus", {}),
    "webm-live": ("webm", "libopus", {"live": "1"}),
    "ogg-opus": ("ogg", "libopus", {}),
    "ogg-flac": ("ogg", "flac", {}),
    "ts": ("mpegts", "aac", {}),
    "flv": ("flv", "aac", {}),
    "avi-pcm": ("avi", "pcm_s16le", {}),
    "avi-mp3": ("avi", "libmp3lame", {}),
    "wav-mp3": ("wav", "libmp3lame", {}),
    "wma": ("asf", "wmav2", {}),
    "wavpack": ("wv", "wavpack", {}),
    "tta": ("tta", "tta", {}),
}
FORMATS = (*SOUNDFILE_FORMATS, *FFMPEG_FORMATS)
WITHOUT_LENGTH = {"mp3-without-count", "mp2", "aac", "ts", "webm-live"}
"""Formats that do not say how long they are, so that a cut between two frames leaves no trace."""
JOINABLE = {
    *("wav-16", "wav-24", "wav-float", "wav-ulaw", "wavex", "aiff", "au", "w64", "flac", "flac-24"),
    *("vorbis", "opus", "ogg-opus", "ogg-flac", "mp3", "mp3-without-count", "mp2", "aac"),
    *("m4a", "mp4-fast", "mkv", "mkv-flac", "mkv-pcm", "webm", "webm-live", "mov-pcm", "ts", "flv"),
    "wma",
}
"""Formats that programs join, or players go on in."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Six seconds of noise in each format."""
    folder = tmp_path_factory.mktemp("family")
    noise = np.random.default_rng(0).standard_normal(SECONDS * RATE) * 0.1
    samples = noise.astype(np.float32)
    made = {}
    for name, (kind, subtype) in SOUNDFILE_FORMATS.items():
        soundfile.write(folder / name, samples, RATE, format=kind, subtype=subtype)
        made[name] = (folder / name).read_bytes()
    for name, (container, codec, options) in FFMPEG_FORMATS.items():
        write_track(folder / name, container, codec, samples, options=options)
        made[name] = (folder / name).read_bytes()
    return made


def whole(data: bytes, _: random.Random) -> bytes:
    return data


def joined(data: bytes, _: random.Random) -> bytes:
    return data * 2


def tagged(data: bytes, chance: random.Random) -> bytes:
    size = chance.randrange(1, 5000)
    return b"ID3\4\0\0" + bytes((0, 0, size >> 7, size & 0x7F)) + bytes(size) + data


def with_junk_behind(data: bytes, chance: random.Random) -> bytes:
    return data + b"TAG" + bytes(125) * chance.randrange(1, 2)


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: int(len(data) * chance.uniform(0.3, 0.95))]


def overwritten(data: bytes, chance: random.Random) -> bytes:
    """Puts other bytes in a few places behind the header."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) // 5, len(data) * 9 // 10)
        size = chance.choice((1, 20, 400, 3000))
        changed[at : at + size] = chance.choice((bytes(size), chance.randbytes(size)))
    return bytes(changed[: len(data)])


def with_a_hole(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) // 5, len(data) * 7 // 10)
    return data[:at] + data[at + chance.randrange(1, len(data) // 5) :]


def with_an_insertion(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) // 5, len(data) * 9 // 10)
    return data[:at] + chance.randbytes(chance.randrange(1, 3000)) + data[at:]


SIZES = {
    "wav": ((b"RIFF", 4, "little"), (b"data", 4, "little"), (b"fact\4\0\0\0", 4, "little")),
    "rf64": ((b"data", 4, "little"), (b"ds64\x1c\0\0\0", 8, "little")),
    "aiff": ((b"FORM", 4, "big"), (b"SSND", 4, "big"), (b"COMM\0\0\0\x12\0\1", 4, "big")),
    "au": ((b".snd\0\0\0\x18", 4, "big"),),
    "caf": ((b"data", 8, "big"),),
    "w64": ((b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", 8, "little"),),
    "flac": ((b"\x0a\xc4\x42\xf0", 4, "big"), (b"\x03\xe8\x00\xf0", 4, "big")),
    "avi": ((b"RIFF", 4, "little"), (b"movi", -4, "little")),
}


def lying(data: bytes, chance: random.Random) -> bytes:
    """Writes wrong sizes where the header has some: none, all, less or more than there are."""
    kind = {b"RIFF": "wav", b"RF64": "rf64", b"FORM": "aiff", b".snd": "au", b"caff": "caf"}.get(
        data[:4], {b"riff": "w64", b"fLaC": "flac"}.get(data[:4], "")
    )
    if data[8:12] == b"AVI ":
        kind = "avi"
    changed = bytearray(data)
    for name, width, order in SIZES.get(kind, ()):
        at = data.find(name)
        if at < 0 or width < 0 or chance.random() < 0.3:
            continue
        at += len(name)
        true = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
        most = (1 << 8 * width) - 1
        lie = chance.choice(
            (0, most, most // 2, true // 2, min(most, true * 2), min(most, true + 1))
        )
        changed[at : at + width] = lie.to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(changed)


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    each.__name__: each
    for each in (
        *(whole, joined, tagged, with_junk_behind, cut, overwritten, with_a_hole),
        *(with_an_insertion, lying),
    )
}
HARMLESS = {"whole", "tagged", "with_junk_behind"}


def ffmpeg_seconds(data: bytes) -> float:
    """Returns how much sound FFmpeg decodes, whatever is wrong."""
    try:
        container = av.open(io.BytesIO(data), "r", options={"protocol_whitelist": "none"})
    except (av.FFmpegError, ValueError):
        return 0.0
    seconds = 0.0
    with container:
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream) or stream.codec_context is None:
            return 0.0
        try:
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    continue
                seconds += sum(f.samples / f.sample_rate for f in frames)
        except av.FFmpegError:
            pass
    return seconds


def read(data: bytes) -> tuple[np.ndarray | None, list[str]]:
    """Returns samples, None where they are refused, and what was said."""
    try:
        with open_audio(io.BytesIO(data)) as audio:
            return audio.read(), audio.warnings
    except AudioError as error:
        return None, [str(error)]


def check(name: str, change: str, data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """Fails where something is lost in silence, or said without a reason."""
    samples, message_part = read(data)
    seconds = 0.0 if samples is None else len(samples) / RATE
    by_ffmpeg = ffmpeg_seconds(data)
    assert capfd.readouterr() == ("", "")
    assert all("\n" not in line for line in message_part)
    if samples is None:
        assert by_ffmpeg < MIN_SECONDS, message_part
    if not message_part:
        assert seconds > by_ffmpeg - TOLERANCE_SECONDS
    if change in HARMLESS:
        assert message_part == []
        assert seconds == pytest.approx(SECONDS, abs=TOLERANCE_SECONDS)
    if change == "joined" and name in JOINABLE:
        assert message_part == []
        assert seconds == pytest.approx(2 * SECONDS, abs=2 * TOLERANCE_SECONDS)
    leaves_a_trace = name not in WITHOUT_LENGTH and change != "joined"
    if leaves_a_trace and seconds < SECONDS - MIN_SECONDS:
        assert message_part


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_lost_in_silence(
    originals: dict[str, bytes], capfd: pytest.CaptureFixture[str], name: str, change: str
) -> None:
    """Two of each pair: 684 members."""
    for number in range(2):
        chance = random.Random(f"{name} {change} {number}")
        check(name, change, CHANGES[change](originals[name], chance), capfd)


@pytest.mark.full
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_lost_in_silence_in_a_larger_family(
    originals: dict[str, bytes], capfd: pytest.CaptureFixture[str], name: str, change: str
) -> None:
    """Forty of each pair, by two changes in turn: 13,680 members."""
    for number in range(40):
        chance = random.Random(f"{name} {change} {number} of many")
        data = CHANGES[change](originals[name], chance)
        if number % 2 and change not in HARMLESS:
            data = CHANGES["tagged"](data, chance)
        check(name, change, data, capfd)


@pytest.mark.parametrize("name", FORMATS)
def test_the_samples_are_those_of_ffmpeg(originals: dict[str, bytes], name: str) -> None:
    samples, _ = read(originals[name])
    assert samples is not None
    with av.open(io.BytesIO(originals[name]), "r") as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [f for f in container.decode(audio=0) if isinstance(f, av.AudioFrame)]
        for frame in frames:
            frame.pts = None
        decoded = [out.to_ndarray()[0] for f in [*frames, None] for out in resampler.resample(f)]
    expected = np.concatenate(decoded)
    n_both = min(len(samples), len(expected))
    assert abs(len(samples) - len(expected)) < TOLERANCE_SECONDS * RATE
    if "opus" in name or name.startswith("webm"):  # resampled from 48 kHz, by another resampler
        assert np.corrcoef(samples[:n_both], expected[:n_both])[0, 1] > 0.98
    else:  # decoders round ADPCM each in its own way
        np.testing.assert_allclose(samples[:n_both], expected[:n_both], atol=2e-3)
