"""Sources of the Python API: whatever is given is sound, or an AudioError."""

import array
import gzip
import io
import mmap
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from maxwhisper_cli.audio.reader import AudioError, RawFormat, open_audio
from maxwhisper_cli.model import Model
from tests.support.scripted import ScriptedImplementation, window
from tests.support.sound import encode, tone

RATE = 16000


def read(source: object, **reading: object) -> np.ndarray:
    with open_audio(source, **reading) as audio:  # type: ignore[arg-type]
        samples = audio.read()
    assert audio.warnings == []
    assert samples.dtype == np.float32
    return samples


class OnlyRead:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, n_bytes: int = -1) -> bytes:
        return self._file.read(min(n_bytes, 1000) if n_bytes >= 0 else -1)


class WithoutSeekable(OnlyRead):
    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class PathOfBytes:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self._path)


class Pathlike:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


SOURCES_OF_A_FILE: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "Path": Path,
    "PathLike": Pathlike,
    "PathLike of bytes": PathOfBytes,
    "name in bytes": os.fsencode,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "buffered": lambda path: path.open("rb"),
    "unbuffered": lambda path: path.open("rb", buffering=0),
    "temporary": lambda path: _temporary(path.read_bytes()),
    "spooled": lambda path: _spooled(path.read_bytes()),
    "gzip": lambda path: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(path.read_bytes()))),
    "zip member": lambda path: _zipped(path.read_bytes()),
    "mmap": lambda path: mmap.mmap(os.open(path, os.O_RDONLY), 0, access=mmap.ACCESS_READ),
    "read alone": lambda path: OnlyRead(path.read_bytes()),
    "seek without seekable": lambda path: WithoutSeekable(path.read_bytes()),
}


def _temporary(data: bytes) -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115  (closed by the test)
    file.write(data)
    return file


def _spooled(data: bytes) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115  (closed by the test)
    file.write(data)
    return file


def _zipped(data: bytes) -> Any:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", data)
    return zipfile.ZipFile(buffer).open("a")


@pytest.mark.parametrize("kind", SOURCES_OF_A_FILE)
@pytest.mark.parametrize("extension", ["wav", "m4a"])
def test_files_of_every_kind(tmp_path: Path, kind: str, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    if extension == "wav":
        soundfile.write(path, tone(440, 2.0, RATE), RATE)
    else:
        encode(path, "ipod", "aac")
    source = SOURCES_OF_A_FILE[kind](path)
    np.testing.assert_array_equal(read(source), read(path))
    if hasattr(source, "close"):
        assert not getattr(source, "closed", False)
        source.close()


NUMBERS = tone(440, 2.0, RATE)
INTEGERS = (NUMBERS * 32767).astype(np.int16)
OF_16_BITS = INTEGERS / np.float32(32768)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_of_every_size_and_order(kind: str, order: str) -> None:
    given = NUMBERS.astype(order + kind)
    np.testing.assert_array_equal(read(given), given.astype(np.float32))


def test_long_doubles() -> None:
    np.testing.assert_array_equal(read(NUMBERS.astype(np.longdouble)), NUMBERS)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("n_bytes", [1, 2, 4, 8])
@pytest.mark.parametrize("sign", ["i", "u"])
def test_integers_are_scaled_by_their_type(sign: str, n_bytes: int, order: str) -> None:
    n_bits = 8 * n_bytes
    middle = 0 if sign == "i" else 2 ** (n_bits - 1)
    scaled = (NUMBERS.astype(np.float64) * (2.0 ** (n_bits - 1) - 1)).round() + middle
    given = scaled.astype(f"{order}{sign}{n_bytes}")
    np.testing.assert_allclose(read(given), NUMBERS, atol=0.01 if n_bytes == 1 else 1e-4)


@pytest.mark.parametrize("dtype", ["<i4", ">i4", "i8"])
def test_16_bit_samples_in_a_wider_type(dtype: str) -> None:
    np.testing.assert_array_equal(read(INTEGERS.astype(dtype)), OF_16_BITS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (NUMBERS.tolist(), NUMBERS),
        (tuple(NUMBERS.tolist()), NUMBERS),
        (INTEGERS.tolist(), OF_16_BITS),
        (array.array("f", NUMBERS), NUMBERS),
        (array.array("h", INTEGERS), OF_16_BITS),
        (memoryview(array.array("f", NUMBERS)), NUMBERS),
        (NUMBERS[None], NUMBERS),
        (NUMBERS[:, None], NUMBERS),
        (np.repeat(NUMBERS, 2)[::2], NUMBERS),
        (np.ma.masked_array(NUMBERS), NUMBERS),
        ([], NUMBERS[:0]),
    ],
    ids=[
        *("list", "tuple", "list of integers", "array of floats", "array of shorts", "view"),
        *("one row", "one column", "strided", "masked", "empty"),
    ],
)
def test_sequences_of_numbers(source: Any, expected: np.ndarray) -> None:
    with open_audio(source) as audio:
        np.testing.assert_array_equal(audio.read(), expected)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(NUMBERS),
        torch.from_numpy(NUMBERS).double(),
        torch.from_numpy(NUMBERS)[None],
        torch.from_numpy(NUMBERS).requires_grad_(),
        torch.from_numpy(INTEGERS),
        torch.from_numpy(NUMBERS).bfloat16(),
    ],
    ids=["float32", "float64", "one row", "with gradient", "int16", "bfloat16"],
)
def test_torch_tensors(tensor: torch.Tensor) -> None:
    tolerance = 2e-3 if tensor.dtype == torch.bfloat16 else 1e-4
    np.testing.assert_allclose(read(tensor), NUMBERS, atol=tolerance)


def test_torch_is_not_imported_for_them() -> None:
    code = (
        "import sys, numpy\n"
        "from maxwhisper_cli.audio.reader import open_audio\n"
        "open_audio(numpy.zeros(16000)).read()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000.0, np.int64(48000)])
@pytest.mark.parametrize("as_list", [False, True])
def test_samples_of_another_rate(rate: float, as_list: bool) -> None:
    samples = tone(440, 3.0, int(rate))
    read_samples = read(samples.tolist() if as_list else samples, sample_rate=rate)
    assert len(read_samples) == pytest.approx(3 * RATE, abs=2)
    inner = slice(RATE // 10, -RATE // 10)
    np.testing.assert_allclose(
        read_samples[inner], tone(440, 3.0, RATE)[: len(read_samples)][inner], atol=1e-3
    )


@pytest.mark.parametrize("rate", [0, -1, 10**12, float("nan"), float("inf"), "16000", True, [1]])
def test_rates_that_are_none(rate: Any) -> None:
    with pytest.raises(AudioError, match="sample_rate is a number"):
        open_audio(NUMBERS, sample_rate=rate)


def test_a_file_has_its_own_rate(jfk: Path) -> None:
    with pytest.raises(AudioError, match="sample rate of its own"):
        open_audio(jfk, sample_rate=8000)


NO_SOURCES: dict[str, Any] = {
    "None": None,
    "integer": 7,
    "float": 0.5,
    "numpy scalar": np.float32(0.5),
    "array without dimension": np.array(0.5),
    "tensor without dimension": torch.tensor(0.5),
    "sparse tensor": torch.zeros(3).to_sparse(),
    "bool": True,
    "bools": np.zeros(9, bool),
    "complex": np.zeros(9, complex),
    "text in an array": np.array(["a.wav"]),
    "paths": ["a.wav", "b.wav"],
    "objects": np.array([None, 1]),
    "dates": np.zeros(3, "M8[s]"),
    "dict": {"array": NUMBERS},
    "set": {1.0, 2.0},
    "generator": iter([0.5]),
    "uneven lists": [[0.5], [0.5, 0.5]],
    "two channels": np.zeros((100, 2)),
    "type": io.BytesIO,
    "function": len,
    "object": object(),
    "empty bytes": b"",
    "bytes of nothing": bytes(range(256)) * 40,
    "missing name": b"no-such-file.wav",
    "NUL in a name": "a\0b",
    "very long name": "x" * 5000,
    "surrogate": "\udcff.wav",
}


@pytest.mark.parametrize("kind", NO_SOURCES)
def test_everything_else_is_an_audio_error(kind: str) -> None:
    with pytest.raises(AudioError) as caught:
        open_audio(NO_SOURCES[kind])
    assert "\n" not in str(caught.value)


class Broken(io.BytesIO):
    """A file that fails after so many reads."""

    def __init__(self, data: bytes, n_reads: int, error: Exception) -> None:
        super().__init__(data)
        self._n_reads = n_reads
        self._error = error

    def _count(self) -> None:
        self._n_reads -= 1
        if self._n_reads < 0:
            raise self._error

    def read(self, n_bytes: int | None = -1, /) -> bytes:
        self._count()
        return super().read(n_bytes)

    def readinto(self, buffer: Any, /) -> int:
        self._count()
        return super().readinto(buffer)


class Foreign:
    """The same, and no subclass of anything."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@pytest.fixture(scope="module")
def forty_seconds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Noise in four formats, which two libraries read."""
    folder = tmp_path_factory.mktemp("noise")
    noise = np.random.default_rng(0).standard_normal(40 * RATE) * 0.1
    for extension in ("wav", "flac", "mp3"):
        soundfile.write(folder / f"a.{extension}", noise, RATE)
    encode(folder / "a.m4a", "ipod", "aac")
    return {path.suffix[1:]: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("n_reads", [0, 1, 2, 3, 5, 10, 20, 30])
@pytest.mark.parametrize("extension", ["wav", "flac", "m4a", "mp3"])
@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), ValueError("bad"), EOFError()], ids=repr
)
def test_files_that_fail(
    forty_seconds: dict[str, bytes],
    capfd: pytest.CaptureFixture[str],
    n_reads: int,
    extension: str,
    error: Exception,
) -> None:
    data = forty_seconds[extension]
    source: Any = Foreign(Broken(data, n_reads, error))
    samples, message_part = None, ""
    try:
        with open_audio(source) as audio:
            samples = audio.read()
    except AudioError as caught:
        message_part = str(caught)
    if samples is None:
        assert "the stream cannot be read" in message_part
    else:  # so few reads were needed
        np.testing.assert_array_equal(samples, read(io.BytesIO(data)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: _closed(path.open("rb")),
        lambda path: _closed(path.open("rb", buffering=0)),
        lambda path: _closed(io.BytesIO(path.read_bytes())),
        lambda _: io.StringIO("words"),
        lambda _: Foreign(io.StringIO("words")),  # type: ignore[arg-type]
    ],
    ids=["closed", "closed unbuffered", "closed bytes", "text", "text of another kind"],
)
def test_files_that_cannot_be_read(jfk: Path, make: Callable[[Path], Any]) -> None:
    with pytest.raises(AudioError, match=r"closed file|is open as text|cannot be read"):
        open_audio(make(jfk)).read()


def _closed(file: Any) -> Any:
    file.close()
    return file


def test_no_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(AudioError, match="standard input is closed"):
        open_audio("-")


def test_no_room_for_a_copy(jfk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("maxwhisper_cli.audio.source.TemporaryFile", refuse)
    with pytest.raises(AudioError, match=r"No usable temporary .*set TMPDIR"):
        open_audio(OnlyRead(jfk.read_bytes()))


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [
        ("s8", "i1"),
        ("u8", "u1"),
        ("s16le", "<i2"),
        ("s16be", ">i2"),
        ("s32le", "<i4"),
        ("s32be", ">i4"),
        ("f32le", "<f4"),
        ("f32be", ">f4"),
        ("f64le", "<f8"),
        ("f64be", ">f8"),
    ],
)
@pytest.mark.parametrize("kind", ["path", "bytes", "stream"])
def test_raw_samples(tmp_path: Path, encoding: str, dtype: str, kind: str) -> None:
    data = NUMBERS.astype(np.float64)
    n_bits = 8 * np.dtype(dtype).itemsize
    if dtype[-2] in "iu":
        data = (data * (2.0 ** (n_bits - 1) - 1)).round() + (128 if encoding == "u8" else 0)
    stored = data.astype(dtype).tobytes()
    path = tmp_path / "a.raw"
    path.write_bytes(stored)
    source: Any = {"path": path, "bytes": stored, "stream": OnlyRead(stored)}[kind]
    read_samples = read(source, raw=RawFormat(encoding))
    np.testing.assert_allclose(read_samples, NUMBERS, atol=0.01 if n_bits == 8 else 1e-4)


@pytest.mark.parametrize("encoding", ["s24le", "s24be", "mulaw", "alaw"])
def test_raw_samples_of_other_codings(tmp_path: Path, encoding: str) -> None:
    subtype = {"s": "PCM_24", "m": "ULAW", "a": "ALAW"}[encoding[0]]
    endian = "BIG" if encoding.endswith("be") else "LITTLE"
    path = tmp_path / "a.raw"
    soundfile.write(path, NUMBERS, RATE, format="RAW", subtype=subtype, endian=endian)
    np.testing.assert_allclose(read(path, raw=RawFormat(encoding)), NUMBERS, atol=0.02)


def test_raw_rate_and_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    stereo = np.stack([tone(440, 2.0, 8000), tone(880, 2.0, 8000)], axis=1)
    (stereo * 32767).astype("<i2").tofile(path)
    for channel, frequency in ((1, 440), (2, 880)):
        read_samples = read(path, raw=RawFormat("s16le", 8000, 2), channel=channel)
        assert len(read_samples) == pytest.approx(2 * RATE, abs=2)
        strongest = np.argmax(np.abs(np.fft.rfft(read_samples))) * RATE / len(read_samples)
        assert strongest == pytest.approx(frequency, abs=2)


@pytest.mark.parametrize(
    "raw",
    [RawFormat("s17"), RawFormat("u8", 0), RawFormat("u8", 8000, 0), RawFormat("u8", -1, 5000)],
)
def test_raw_formats_that_are_none(tmp_path: Path, raw: RawFormat) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r"is no raw format|cannot be read as"):
        open_audio(path, raw=raw)


def test_no_raw_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.touch()
    with pytest.raises(AudioError, match="0 bytes"):
        open_audio(path, raw=RawFormat())


def test_a_model_takes_what_the_reader_takes() -> None:
    """All of it goes through: the length tells that rate and format arrived."""
    model = Model(ScriptedImplementation(lambda _: window([])))
    raw = RawFormat("s16le", 8000)
    assert model.transcribe(NUMBERS, sample_rate=8000).duration_seconds == 4.0
    assert model.transcribe(INTEGERS.tobytes(), raw=raw).duration_seconds == 4.0
    assert [each.end for each in model.stream(NUMBERS.tolist(), sample_rate=8000)] == [4.0]
    several = list(model.transcribe_several([NUMBERS, None, INTEGERS], sample_rate=8000))  # type: ignore[list-item]
    assert [each.error is None for each in several] == [True, False, True]
    assert isinstance(several[1].error, AudioError)
