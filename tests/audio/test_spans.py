"""A recording read in spans by several threads is the recording read in one pass."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from maxwhisper_cli.audio import reader as audio
from maxwhisper_cli.audio import spans as audio_spans
from maxwhisper_cli.audio.reader import AudioError, open_audio
from maxwhisper_cli.audio.spans import SpanReader
from maxwhisper_cli.audio.stream import CutError, Cuttable

RESAMPLED = 1e-6
"""Largest difference after resampling: a filter over floats in other blocks."""
N_THREADS = 3
SECONDS = 7.3


@pytest.fixture(autouse=True)
def short_ones_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MIN_SECONDS", 1.0)
    monkeypatch.setattr(audio_spans, "_MIN_SPAN_SECONDS", 1)
    monkeypatch.setattr(audio_spans, "_MAX_SPAN_SECONDS", 2)


def noise(rate: int, n_channels: int) -> np.ndarray:
    """Returns noise that swells, `[n_channels, n_samples]`: each span differs from all others."""
    rng = np.random.default_rng(rate + n_channels)
    sound = 0.2 * rng.standard_normal((n_channels, int(SECONDS * rate)))
    swelling = 1 + np.sin(np.arange(sound.shape[1]) / rate)
    return (sound * swelling).clip(-1, 1).astype(np.float32)


def write(
    path: Path,
    codec: str,
    rate: int,
    n_channels: int,
    bit_rate: int = 0,
    *,
    form: str | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes noise in a format of FFmpeg's."""
    layout = "mono" if n_channels == 1 else "stereo"
    with av.open(str(path), "w", format=form, options=container_options or {}) as output:
        output.metadata["title"] = "noise"
        stream = output.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(noise(rate, n_channels), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.codec_context.format.name, layout, rate)
        for converted in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return path


class Reading:
    """Samples and warnings of a file, and who read it."""

    def __init__(self, path: Path, *, in_spans: bool, channel: audio.Channel = "mix") -> None:
        self.is_whole = False
        """True if spans gave all of it."""
        self.error = ""
        self.warnings: list[str] = []
        original = SpanReader.blocks

        def blocks(reader: SpanReader) -> Iterator[np.ndarray]:
            if not in_spans:
                raise CutError
            yield from original(reader)
            self.is_whole = True

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SpanReader, "blocks", blocks)
            try:
                with open_audio(path, channel) as opened:
                    opened.n_threads = N_THREADS
                    self.rate, self.warnings = opened.sample_rate, opened.warnings
                    self.samples = opened.read()
            except AudioError as error:
                self.error = str(error)

    def check_against(self, other: "Reading") -> None:
        """Checks that both readings are the same."""
        assert self.error == other.error
        assert self.warnings == other.warnings
        if not self.error:
            tolerance = 0.0 if self.rate == audio.SAMPLE_RATE else RESAMPLED
            np.testing.assert_allclose(self.samples, other.samples, rtol=0, atol=tolerance)


def read_both(path: Path, channel: audio.Channel = "mix") -> Reading:
    """Reads in spans and in one pass; returns the former."""
    spans = Reading(path, in_spans=True, channel=channel)
    spans.check_against(Reading(path, in_spans=False, channel=channel))
    return spans


@pytest.mark.parametrize(
    ("rate", "n_channels", "bit_rate"),
    [
        (16000, 1, 48000),
        (16000, 1, 8000),  # frames of 36 bytes: the reservoir is many of them long
        (16000, 2, 160000),
        (44100, 2, 128000),
        (44100, 1, 320000),
        (48000, 2, 64000),
        (32000, 1, 32000),
        (24000, 2, 56000),
        (22050, 1, 24000),
        (12000, 1, 16000),
        (11025, 2, 32000),
        (8000, 1, 8000),
    ],
)
@pytest.mark.parametrize("is_varying", [False, True])
def test_mp3(tmp_path: Path, rate: int, n_channels: int, bit_rate: int, is_varying: bool) -> None:
    options = {"abr": "1"} if is_varying else {}
    path = write(tmp_path / "a.mp3", "libmp3lame", rate, n_channels, bit_rate, options=options)
    assert read_both(path).is_whole


@pytest.mark.parametrize(
    "options", [{"write_xing": "0"}, {"write_id3v1": "1"}, {"id3v2_version": "0"}]
)
def test_mp3_with_other_tags(tmp_path: Path, options: dict[str, str]) -> None:
    path = write(tmp_path / "a.mp3", "libmp3lame", 44100, 2, 96000, container_options=options)
    assert read_both(path).is_whole


@pytest.mark.parametrize("form", ["s16", "s32"])
def test_flac(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.flac"
    subtype = {"s16": "PCM_16", "s32": "PCM_24"}[form]
    soundfile.write(path, noise(44100, 2).T, 44100, subtype)
    assert read_both(path).is_whole
    soundfile.write(path, noise(16000, 1).T, 16000, subtype)
    assert read_both(path).is_whole


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        *(("WAV", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW")),
        *((name, "PCM_16") for name in ("AIFF", "CAF", "AU", "W64")),
        ("OGG", "VORBIS"),
    ],
)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_libsndfile(tmp_path: Path, form: str, subtype: str, rate: int) -> None:
    path = tmp_path / f"a.{form.lower()}"
    soundfile.write(path, noise(rate, 2).T, rate, subtype, format=form)
    assert read_both(path).is_whole


@pytest.mark.parametrize("rate", [47999, 12345])
def test_rates_that_rarely_meet_16_khz_are_read_in_one_pass(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(rate, 1).T, rate)
    assert not read_both(path).is_whole


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.m4a", "aac"),  # noise is made by a generator that goes through the whole file
        ("a.opus", "libopus"),  # predicts from all that was before
        ("a.webm", "libopus"),
        ("a.mka", "libmp3lame"),
    ],
)
def test_other_codecs_are_read_in_one_pass(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, codec, 48000, 2, 96000)
    assert not read_both(path).is_whole


def test_samples_that_are_no_sound_are_left_to_one_pass(tmp_path: Path) -> None:
    samples = noise(16000, 1)
    samples[0, 50000] = np.nan
    path = tmp_path / "a.wav"
    soundfile.write(path, samples.T, 16000, "FLOAT")
    spans = read_both(path)
    assert not spans.is_whole
    assert len(spans.warnings) == 1


def test_channels_stay_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", "libmp3lame", 44100, 2, 128000)
    for channel in ("split", "right"):
        assert read_both(path, channel).is_whole


@pytest.fixture(scope="module", params=["mp3", "flac", "wav", "ogg"])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds at 16 kHz, in each format that can be cut."""
    path = tmp_path_factory.mktemp("cut") / f"a.{request.param}"
    if request.param == "mp3":
        return write(path, "libmp3lame", 16000, 1, 24000)
    soundfile.write(path, noise(16000, 1).T, 16000)
    return path


def test_any_span_is_that_part_of_one_pass(recording: Path) -> None:
    """60 random spans, of one sample up to all."""
    rng = np.random.default_rng(11)
    whole = Reading(recording, in_spans=False).samples
    with open_audio(recording) as opened:
        cuttable = opened._stream.cuttable()
        assert cuttable is not None
        assert cuttable.n_samples == len(whole)
        for _ in range(60):
            start = int(rng.integers(len(whole)))
            end = start + 1 + int((len(whole) - start) * rng.random() ** 3)
            span = np.concatenate(list(cuttable.read(start, min(end, len(whole)))))[:, 0]
            np.testing.assert_array_equal(span, whole[start:end])


def check_damaged(recording: Path, folder: Path, content: bytes) -> Reading:
    path = folder / f"damaged{recording.suffix}"
    path.write_bytes(content)
    return read_both(path)


@pytest.mark.parametrize("n_files", [30, pytest.param(1000, marks=pytest.mark.full)])
def test_damage_reads_as_in_one_pass(recording: Path, tmp_path: Path, n_files: int) -> None:
    """Files with one to four places where up to four bytes became up to six others."""
    rng = np.random.default_rng(n_files)
    n_in_spans = 0
    for _ in range(n_files):
        content = bytearray(recording.read_bytes())
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(len(content)))
            content[at : at + int(rng.integers(5))] = rng.bytes(int(rng.integers(7)))
        n_in_spans += check_damaged(recording, tmp_path, bytes(content)).is_whole
    assert n_in_spans < n_files or recording.suffix == ".wav"  # where most bytes are samples


def test_a_cut_or_joined_file_is_read_in_one_pass(tmp_path: Path) -> None:
    content = write(tmp_path / "a.mp3", "libmp3lame", 16000, 1, 24000).read_bytes()
    other = write(tmp_path / "b.mp3", "libmp3lame", 44100, 2, 96000).read_bytes()
    for damaged in (
        content[: len(content) // 2],
        content + b"junk" * 40,
        content[:9000] + b"\0" * 700 + content[9000:],
        content + other,
        content + content,
    ):
        assert not check_damaged(tmp_path / "a.mp3", tmp_path, damaged).is_whole


def test_a_span_that_fails_leaves_the_rest_to_one_pass(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SpanReader._read

    def fails(reader: SpanReader, start: int, end: int) -> np.ndarray:
        if start > 3 * reader.sample_rate:
            raise CutError
        return original(reader, start, end)

    whole = Reading(recording, in_spans=False)
    monkeypatch.setattr(SpanReader, "_read", fails)
    spans = Reading(recording, in_spans=True)
    assert not spans.is_whole
    spans.check_against(whole)


def test_what_has_no_path_is_read_in_one_pass(recording: Path) -> None:
    with open_audio(recording.read_bytes()) as opened:
        assert opened._stream.cuttable() is None
        samples = opened.read()
    np.testing.assert_array_equal(samples, Reading(recording, in_spans=False).samples)


def test_a_length_that_cannot_be_is_not_planned_for() -> None:
    def read(start: int, _end: int) -> Iterator[np.ndarray]:
        if start:
            raise CutError
        yield np.zeros((16, 1), np.float32)

    reader = SpanReader(Cuttable(2**62, read), 16000, None, 1, 2)
    with pytest.raises(CutError):
        list(reader.blocks())
