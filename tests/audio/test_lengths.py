"""Nothing is lost because a header or a library says so, and no warning is untrue.

Each file is made here, as programs write them that crash, write into pipes or join files.
"""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio.reader import AudioError, open_audio
from tests.support.sound import encode, tone, write_track, write_tracks

RATE = 16000


def read(path: Path, **reading: object) -> tuple[np.ndarray, list[str]]:
    with open_audio(path, **reading) as audio:  # type: ignore[arg-type]
        return audio.read(), audio.warnings


def pitch(samples: np.ndarray) -> float:
    """Returns the strongest frequency, in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples))


def assert_same_sound(path: Path, expected: np.ndarray, *, message_part: str | None = None) -> None:
    samples, warnings = read(path)
    assert len(samples) == len(expected)
    np.testing.assert_allclose(samples, expected, atol=1e-4)
    assert len(warnings) == (message_part is not None)
    assert message_part is None or message_part in warnings[0]


def replace_size(data: bytes, name: bytes, size: int, order: str = "<", width: str = "I") -> bytes:
    """Writes another size behind a chunk's name."""
    at = data.index(name) + len(name)
    packed = struct.pack(order + width, size)
    return data[:at] + packed + data[at + len(packed) :]


def written(path: Path, samples: np.ndarray, **how: str) -> bytes:
    soundfile.write(path, samples, RATE, **how)
    return path.read_bytes()


# Sizes in headers ------------------------------------------------------------------------


@pytest.mark.parametrize("outer", [0, 36, 0xFFFFFFFF, None], ids=["0", "36", "all", "true"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_wav_whose_sizes_were_never_filled_in(
    tmp_path: Path, size: int, outer: int | None
) -> None:
    path, samples = tmp_path / "a.wav", tone(440, 3.0, RATE)
    data = replace_size(written(path, samples), b"data", size)
    path.write_bytes(data if outer is None else replace_size(data, b"RIFF", outer))
    assert_same_sound(path, samples)


@pytest.mark.parametrize(
    ("extension", "name", "order", "width", "how"),
    [
        ("aiff", b"SSND", ">", "I", {}),
        ("caf", b"data", ">", "Q", {}),
        ("w64", b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", "<", "Q", {}),
        ("au", b".snd\0\0\0\x18", ">", "I", {}),
        ("wav", b"data", "<", "I", {"format": "WAVEX", "subtype": "PCM_24"}),
        ("wav", b"data", "<", "I", {"subtype": "FLOAT"}),
        ("wav", b"data", "<", "I", {"subtype": "ULAW"}),
        ("wav", b"data", ">", "I", {"endian": "BIG"}),
    ],
    ids=["aiff", "caf", "w64", "au", "extensible", "float", "u-law", "rifx"],
)
def test_sizes_of_zero_in_other_headers(
    tmp_path: Path, extension: str, name: bytes, order: str, width: str, how: dict[str, str]
) -> None:
    path, samples = tmp_path / f"a.{extension}", tone(440, 3.0, RATE)
    data = written(path, samples, **how)
    expected, warnings = read(path)
    assert warnings == []
    path.write_bytes(replace_size(data, name, 0, order, width))
    read_samples, warnings = read(path)
    assert warnings == []
    assert (
        len(expected) <= len(read_samples) <= len(expected) + 8 * RATE // 1000
    )  # padding behind it
    np.testing.assert_array_equal(read_samples[: len(expected)], expected)


def test_a_wav_of_which_more_is_there_than_it_announces(tmp_path: Path) -> None:
    """Recorders write the size now and then; a crash comes later."""
    path, samples = tmp_path / "a.wav", tone(440, 3.0, RATE)
    data = replace_size(written(path, samples), b"data", 2 * RATE)
    path.write_bytes(replace_size(data, b"RIFF", 2 * RATE + 36))
    assert_same_sound(
        path, samples, message_part="announces 32,000 bytes of sound; 96,000 are there"
    )


@pytest.mark.parametrize(
    "tail",
    [b"LIST\4\0\0\0INFO", b"TAG" + bytes(125), b"ID3\4\0\0\0\0\0\0", b"\0" * 4096, b"\r\n"],
    ids=["chunk", "ID3v1", "ID3v2", "zeros", "line end"],
)
def test_what_follows_the_sound_of_a_wav_is_no_sound(tmp_path: Path, tail: bytes) -> None:
    path, samples = tmp_path / "a.wav", tone(440, 1.0, RATE)
    path.write_bytes(written(path, samples) + tail)
    assert_same_sound(path, samples)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("between", [b"", b"LIST\4\0\0\0INFO"], ids=["adjacent", "apart"])
def test_a_wav_with_several_chunks_of_sound(tmp_path: Path, subtype: str, between: bytes) -> None:
    """Which libsndfile and FFmpeg both end after the first."""
    path, samples = tmp_path / "a.wav", tone(440, 3.0, RATE)
    data = written(path, samples, subtype=subtype)
    at = data.index(b"data") + 8
    size = (len(data) - at) // 3
    sound = [data[at + i * size : at + (i + 1) * size] for i in range(3)]
    chunks = between.join(b"data" + struct.pack("<I", size) + each for each in sound)
    path.write_bytes(replace_size(data[: at - 8] + chunks, b"RIFF", at - 16 + len(chunks)))
    assert_same_sound(path, samples)


def test_an_empty_wav_with_a_chunk_behind_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(written(path, np.zeros(0, np.float32)) + b"LIST\4\0\0\0INFO")
    samples, warnings = read(path)
    assert len(samples) == 0
    assert [warning.endswith("its length is zero") for warning in warnings] == [True]


@pytest.mark.parametrize("subtype", ["MS_ADPCM", "IMA_ADPCM", "GSM610"])
def test_a_compressed_wav_whose_size_was_never_filled_in(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.wav"
    data = written(path, tone(440, 3.0, RATE), subtype=subtype)
    expected, _ = read(path)
    path.write_bytes(replace_size(data, b"data", 0))
    samples, warnings = read(path)
    assert warnings == []
    assert abs(len(samples) - len(expected)) < RATE // 10
    n_both = min(len(samples), len(expected))
    # FFmpeg and libsndfile round ADPCM each in its own way: by 0.002.
    np.testing.assert_allclose(samples[:n_both], expected[:n_both], atol=3e-3)


@pytest.mark.parametrize("n_announced", [0, 100, RATE])
def test_a_flac_of_unknown_or_wrong_length(tmp_path: Path, n_announced: int) -> None:
    """Its 36 bits are 0 when it was written into a pipe."""
    path, samples = tmp_path / "a.flac", tone(440, 3.0, RATE)
    data = bytearray(written(path, samples))
    data[21] &= 0xF0
    data[22:26] = struct.pack(">I", n_announced)
    path.write_bytes(data)
    assert_same_sound(path, samples)
    with open_audio(path) as audio:
        assert audio.seconds in (None, n_announced / RATE)


def test_a_flac_that_announces_too_much_is_short(tmp_path: Path) -> None:
    path, samples = tmp_path / "a.flac", tone(440, 3.0, RATE)
    data = bytearray(written(path, samples))
    data[22:26] = struct.pack(">I", 10 * RATE)
    path.write_bytes(data)
    assert_same_sound(path, samples, message_part="it announces 10.0 s, 3.0 s could be read")


def test_estimates_raise_no_alarm(tmp_path: Path) -> None:
    """FFmpeg estimates an ADTS length by its first frames, which are quiet here."""
    path = tmp_path / "a.aac"
    rng = np.random.default_rng(0)
    loud = (rng.standard_normal(5 * RATE) * 0.2).astype(np.float32)
    write_track(path, "adts", "aac", np.concatenate([np.zeros(20 * RATE, np.float32), loud]))
    samples, warnings = read(path)
    assert warnings == []
    assert len(samples) == pytest.approx(25 * RATE, abs=RATE // 5)
    with open_audio(path) as audio:
        assert audio.seconds is None


@pytest.mark.parametrize("bit_rate", [16000, 32000, 64000])
def test_mp3_in_a_wav(tmp_path: Path, capfd: pytest.CaptureFixture[str], bit_rate: int) -> None:
    path = tmp_path / "a.wav"
    write_track(path, "wav", "libmp3lame", tone(440, 5.0, RATE), bit_rate=bit_rate)
    samples, warnings = read(path)
    assert warnings == []
    assert len(samples) == pytest.approx(5 * RATE, abs=RATE // 5)
    assert pitch(samples) == pytest.approx(440, abs=2)
    assert capfd.readouterr() == ("", "")


# Several recordings in one file -----------------------------------------------------------


def mp3(path: Path, samples: np.ndarray) -> None:
    write_track(path, "mp3", "libmp3lame", samples)


def aac(path: Path, samples: np.ndarray) -> None:
    write_track(path, "adts", "aac", samples)


def opus(path: Path, samples: np.ndarray) -> None:
    write_track(path, "ogg", "libopus", samples)


def mkv(path: Path, samples: np.ndarray) -> None:
    write_track(path, "matroska", "aac", samples)


def webm(path: Path, samples: np.ndarray) -> None:
    """Writes it as a browser does, whose sizes stay unknown."""
    write_track(path, "webm", "libopus", samples, options={"live": "1"})


def m4a(path: Path, samples: np.ndarray) -> None:
    write_track(path, "ipod", "aac", samples)


def ts(path: Path, samples: np.ndarray) -> None:
    write_track(path, "mpegts", "aac", samples)


def flv(path: Path, samples: np.ndarray) -> None:
    write_track(path, "flv", "aac", samples)


def wma(path: Path, samples: np.ndarray) -> None:
    write_track(path, "asf", "wmav2", samples)


def by_soundfile(name: str) -> Callable[[Path, np.ndarray], None]:
    return lambda path, samples: soundfile.write(path, samples, RATE, format=name)


WRITERS = {
    "wav": by_soundfile("WAV"),
    "aiff": by_soundfile("AIFF"),
    "w64": by_soundfile("W64"),
    "au": by_soundfile("AU"),
    "flac": by_soundfile("FLAC"),
    "ogg": by_soundfile("OGG"),
    "opus": opus,
    "mp3": mp3,
    "aac": aac,
    "mkv": mkv,
    "webm": webm,
    "m4a": m4a,
    "ts": ts,
    "flv": flv,
    "wma": wma,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_joined_files(tmp_path: Path, kind: str) -> None:
    """`cat` joins files so, and radio streams do at each title."""
    data = b""
    for number, frequency in enumerate((440, 880, 1320)):
        path = tmp_path / f"{number}.{kind}"
        WRITERS[kind](path, tone(frequency, 3.0, RATE))
        data += path.read_bytes()
    path = tmp_path / f"joined.{kind}"
    path.write_bytes(data)
    samples, warnings = read(path)
    assert warnings == []
    assert len(samples) == pytest.approx(9 * RATE, abs=RATE // 2)
    for number, frequency in enumerate((440, 880, 1320)):
        inner = samples[int((3 * number + 0.7) * RATE) : int((3 * number + 2.3) * RATE)]
        assert pitch(inner) == pytest.approx(frequency, abs=3)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_joined_files_of_other_rates_and_channels(tmp_path: Path, kind: str) -> None:
    stereo = np.stack([tone(880, 3.0, 44100)] * 2, axis=1)
    soundfile.write(tmp_path / f"a.{kind}", tone(440, 3.0, RATE), RATE)
    soundfile.write(tmp_path / f"b.{kind}", stereo, 44100)
    path = tmp_path / f"c.{kind}"
    path.write_bytes(b"".join((tmp_path / f"{n}.{kind}").read_bytes() for n in "ab"))
    samples, warnings = read(path)
    assert warnings == []
    assert len(samples) == pytest.approx(6 * RATE, abs=RATE // 10)
    assert pitch(samples[RATE : 2 * RATE]) == pytest.approx(440, abs=2)
    assert pitch(samples[4 * RATE : 5 * RATE]) == pytest.approx(880, abs=2)


def test_joined_wavs_whose_sizes_were_never_filled_in(tmp_path: Path) -> None:
    path, samples = tmp_path / "a.wav", tone(440, 1.0, RATE)
    data = replace_size(replace_size(written(path, samples), b"data", 0), b"RIFF", 0)
    path.write_bytes(data * 3)
    assert_same_sound(path, np.tile(samples, 3))


def test_one_of_the_joined_is_no_sound(tmp_path: Path) -> None:
    path, samples = tmp_path / "a.wav", tone(440, 1.0, RATE)
    data = written(path, samples)
    broken = data.replace(b"fmt \x10\0\0\0\1\0", b"fmt \x10\0\0\0\x77\x77")
    path.write_bytes(data + broken + data)
    assert_same_sound(path, np.tile(samples, 2), message_part="recording 2 in it was left out")


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "opus", "m4a", "aiff", "mp3"])
def test_a_tag_before_the_recording(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    WRITERS[kind](path, tone(440, 3.0, RATE))
    expected, _ = read(path)
    path.write_bytes(b"ID3\4\0\0\0\0\2\0" + bytes(256) + path.read_bytes())
    samples, warnings = read(path)
    assert warnings == []
    assert len(samples) == pytest.approx(len(expected), abs=RATE // 20)
    assert pitch(samples) == pytest.approx(440, abs=2)


# Damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus"])
def test_what_follows_damage_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    rng = np.random.default_rng(0)
    WRITERS[kind](path, (rng.standard_normal(20 * RATE) * 0.1).astype(np.float32))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 500] = rng.bytes(500)
    path.write_bytes(data)
    samples, warnings = read(path)
    assert len(samples) > 18 * RATE
    assert warnings
    assert np.abs(samples[-RATE:]).max() > 0.1


# Tracks and times -------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["matroska", "mp4", "mov"])
def test_a_track_that_begins_late(tmp_path: Path, container: str) -> None:
    path = tmp_path / "a.video"
    write_tracks(path, container, [tone(440, 3.0, RATE)], begins=5.0, video_seconds=8.0)
    samples, warnings = read(path)
    assert warnings == []
    assert len(samples) == pytest.approx(8 * RATE, abs=RATE // 5)
    loud = np.flatnonzero(np.abs(samples) > 0.05)
    assert loud[0] / RATE == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("container", ["matroska", "mp4", "mpegts", "flv"])
def test_a_gap_in_a_track(tmp_path: Path, container: str) -> None:
    path = tmp_path / "a.video"
    write_tracks(path, container, [tone(440, 4.0, RATE)], gap=(2.0, 3.0), video_seconds=7.0)
    samples, warnings = read(path)
    assert warnings == []
    assert len(samples) == pytest.approx(7 * RATE, abs=RATE // 5)
    assert np.abs(samples[int(2.3 * RATE) : int(4.7 * RATE)]).max() < 0.02
    assert pitch(samples[int(5.3 * RATE) : int(6.7 * RATE)]) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_times_of_a_segment_begin_anywhere(tmp_path: Path, container: str) -> None:
    """A piece that was cut out of a stream of five hours is not five hours long."""
    path = tmp_path / "a.video"
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    write_tracks(
        path,
        container,
        [tone(440, 3.0, RATE)],
        begins=18000.0,
        options=options if container == "mp4" else {},
    )
    samples, warnings = read(path)
    assert warnings == []
    assert len(samples) == pytest.approx(3 * RATE, abs=RATE // 5)


@pytest.fixture
def two_tracks(tmp_path: Path) -> Path:
    """The second of two tracks is the default, and shorter."""
    path = tmp_path / "a.mkv"
    write_tracks(
        path,
        "matroska",
        [tone(440, 6.0, RATE), tone(880, 3.0, RATE)],
        languages=["eng", "spa"],
        default=1,
    )
    return path


def test_the_default_track_is_read_without_alarm(two_tracks: Path) -> None:
    samples, warnings = read(two_tracks)
    assert warnings == []
    assert len(samples) == pytest.approx(3 * RATE, abs=RATE // 5)
    assert pitch(samples) == pytest.approx(880, abs=2)


@pytest.mark.parametrize(
    ("track", "frequency"),
    [(1, 440), (2, 880), ("2", 880), ("eng", 440), ("spa", 880), ("es", 880), ("Spanish", 880)],
)
def test_a_track_by_number_or_language(
    two_tracks: Path, track: int | str, frequency: float
) -> None:
    samples, warnings = read(two_tracks, audio_track=track)
    assert warnings == []
    assert pitch(samples) == pytest.approx(frequency, abs=2)


@pytest.mark.parametrize("track", [0, 3, "deu", "nonsense", ""])
def test_a_track_that_is_not_there(two_tracks: Path, track: int | str) -> None:
    with pytest.raises(AudioError, match=r"no audio track .*; it has 1 \(eng\), 2 \(spa\)"):
        read(two_tracks, audio_track=track)


def test_a_wav_has_one_track(jfk: Path) -> None:
    np.testing.assert_array_equal(read(jfk, audio_track=1)[0], read(jfk)[0])
    with pytest.raises(AudioError, match="no audio track 2; it has 1"):
        read(jfk, audio_track=2)


@pytest.mark.parametrize("container", ["matroska", "avi", "mp4"])
def test_a_video_that_is_cut_off_says_so(tmp_path: Path, container: str) -> None:
    path = tmp_path / "a.video"
    options = {"movflags": "faststart"} if container == "mp4" else {}
    write_tracks(path, container, [tone(440, 8.0, RATE)], video_seconds=8.0, options=options)
    assert read(path)[1] == []
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    samples, warnings = read(path)
    assert len(samples) > 2 * RATE
    assert len(warnings) == 1
    assert "cut off" in warnings[0]


def test_many_channels_in_an_avi(tmp_path: Path) -> None:
    """FFmpeg hands out one sample at a time; each is too little for a call of its own."""
    path = tmp_path / "a.avi"
    n_frames = 2 * RATE
    rng = np.random.default_rng(0)
    sound = (rng.standard_normal((n_frames, 16)) * 3000).astype(np.int16)
    with av.open(str(path), "w", format="avi") as output:
        stream = output.add_stream("pcm_s16le", rate=RATE)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "hexadecagonal"
        frame = av.AudioFrame.from_ndarray(
            sound.reshape(1, -1), format="s16", layout="hexadecagonal"
        )
        frame.sample_rate = RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    samples, warnings = read(path, channel=16)
    assert warnings == []
    np.testing.assert_array_equal(samples, sound[:, 15] / np.float32(32768))


@pytest.mark.parametrize(
    ("layout", "codec"), [("7.1", "aac"), ("7.1", "pcm_f32le"), ("5.1", "aac")]
)
def test_as_many_planes_as_there_are_pointers(tmp_path: Path, layout: str, codec: str) -> None:
    """PyAV crashes where it looks for the end of eight planes."""
    path = tmp_path / "a.mkv"
    n_channels = av.AudioLayout(layout).nb_channels
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream(codec, rate=48000)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        sound = np.stack([tone(300 * (i + 1), 3.0, 48000) for i in range(n_channels)], axis=1)
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = 48000
        resampler = av.AudioResampler(stream.codec_context.format.name, layout, 48000)
        for each in resampler.resample(frame):
            output.mux(stream.encode(each))
        output.mux(stream.encode(None))
    for _ in range(20):
        samples, warnings = read(path, channel=2)
        assert warnings == []
        assert pitch(samples) == pytest.approx(600, abs=3)


# No sound at all, and sound of another scale -----------------------------------------------


@pytest.mark.parametrize("extension", ["mp3", "wav", "aac", "g722", "m4a", ""])
@pytest.mark.parametrize(
    ("content", "message_part"),
    [
        (b"\x7fELF\2\1\1", "it is a program"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0", "it is a program"),
        (b"PK\3\4", "it is a zip archive"),
        (b"%PDF-1.7\n", "it is a PDF document"),
    ],
    ids=["elf", "exe", "zip", "pdf"],
)
def test_other_files_are_no_music(
    tmp_path: Path, content: bytes, message_part: str, extension: str
) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_bytes(content + np.random.default_rng(1).bytes(200_000))
    with pytest.raises(AudioError, match=re.escape(str(path)) + f".*{message_part}"):
        open_audio(path)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("extension", ["mp3", "aac", "ac3", "dts"])
def test_large_noise_is_no_music(tmp_path: Path, extension: str, seed: int) -> None:
    """In a megabyte there are some bytes that look like the head of a frame."""
    path = tmp_path / f"a.{extension}"
    path.write_bytes(b"\1\2\3\4" + np.random.default_rng(seed).bytes(2**20))
    with pytest.raises(AudioError):
        open_audio(path)


@pytest.mark.parametrize("n_bits", [16, 24, 32])
@pytest.mark.parametrize("kind", ["wav", "array"])
def test_floats_that_hold_integers_are_scaled(tmp_path: Path, n_bits: int, kind: str) -> None:
    expected = tone(440, 40.0, RATE)
    source = expected * np.float32(2.0 ** (n_bits - 1))
    path = tmp_path / "a.wav"
    soundfile.write(path, source, RATE, subtype="FLOAT")
    with open_audio(path if kind == "wav" else source) as audio:
        np.testing.assert_allclose(audio.read(), expected, atol=1e-6)
    assert len(audio.warnings) == 1
    assert f"integers of {n_bits} bits" in audio.warnings[0]


def test_floats_that_become_integers_late_are_refused() -> None:
    samples = np.concatenate([tone(440, 40.0, RATE), tone(440, 5.0, RATE) * 30000])
    with open_audio(samples) as audio, pytest.raises(AudioError, match="far beyond full scale"):
        audio.read()


def test_every_other_sound_is_left_alone(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", "matroska", "aac", video=True)
    assert read(path)[1] == []
