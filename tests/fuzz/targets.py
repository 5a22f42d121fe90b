"""The project's own parsers as targets, with small valid inputs."""

import gzip
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import typer

from implementations.max_graph import artifacts
from maxwhisper_cli.app import make_app
from maxwhisper_cli.captions import style
from maxwhisper_cli.cli_words import parse_heads
from maxwhisper_cli.commands.option_parsing import parse_batch_size, parse_numbers
from maxwhisper_cli.compare.references import with_reference
from maxwhisper_cli.completion import answer
from maxwhisper_cli.completion.table import make_table
from maxwhisper_cli.configuration.settings import Settings
from maxwhisper_cli.inputs.expand import read_list
from maxwhisper_cli.inputs.manifest import read_manifest
from maxwhisper_cli.inputs.naming import output_names
from maxwhisper_cli.inputs.state import FILE_NAME, DoneRecordings
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.transcription.languages import parse_language
from maxwhisper_cli.writers.times import format_timestamp
from tests.fuzz.guided import Target
from tests.support import checkpoints, ggml
from weights import cache, ctranslate2, detect, huggingface, openai_pt, vocabulary
from weights import ggml as ggml_reader
from weights.errors import MaxWhisperError
from weights.hub import hub_model
from weights.onnx import read_initializers

DIMS = replace(
    checkpoints.SMALL_DIMS,
    n_vocab=40,
    n_audio_ctx=6,
    n_text_ctx=5,
    n_audio_state=8,
    n_text_state=8,
    n_audio_layer=1,
)
WORDS = tuple(f"w{i}".encode() for i in range(20))
_GGML_DIMS = replace(DIMS, n_audio_state=32, n_text_state=32)
_Read = Callable[[Path], object]


def _from_file(name: str, read: _Read, data: bytes, folder: Path) -> object:
    path = folder / name
    path.write_bytes(data)
    return read(path)


def _consumed(read: _Read, path: Path) -> float:
    """Reads a checkpoint, and every number in it."""
    found = read(path)
    tensors = found if isinstance(found, dict) else found.tensors  # type: ignore[attr-defined]
    with np.errstate(all="ignore"):
        return sum(float(array.astype(np.float32).sum()) for array in tensors.values())


def _pt_seeds(folder: Path) -> list[bytes]:
    tensors = checkpoints.random_tensors(DIMS)
    return [
        checkpoints.write_openai(folder / "seed", dims, tensors).read_bytes()
        for dims in (DIMS, None)
    ]


def _ctranslate2_seeds(folder: Path) -> list[bytes]:
    tensors = checkpoints.random_tensors(DIMS)
    kinds = ("", "int8", "int16")
    folders = [
        checkpoints.write_ctranslate2(folder / f"ct2{kind}", DIMS, tensors, quantisation=kind)
        for kind in kinds
    ]
    return [(path / "model.bin").read_bytes() for path in folders]


def _safetensors_seeds(folder: Path) -> list[bytes]:
    tensors = checkpoints.random_tensors(DIMS)
    whole = checkpoints.write_huggingface(folder / "hf", DIMS, tensors)
    shards = checkpoints.write_huggingface(folder / "shards", DIMS, tensors, n_shards=2)
    index = shards / "model.safetensors.index.json"
    return [(whole / "model.safetensors").read_bytes(), index.read_bytes()]


@contextmanager
def _small_vocabulary() -> Iterator[None]:
    with mock.patch.object(ggml_reader, "words_of", return_value=WORDS):
        yield


def _ggml_seeds(_folder: Path) -> list[bytes]:
    tensors = checkpoints.random_tensors(_GGML_DIMS)
    with mock.patch.object(ggml, "vocabulary", return_value=list(WORDS)):
        return [ggml.ggml_bytes(_GGML_DIMS, tensors, kind) for kind in ggml.TYPES]


def _run_ggml(data: bytes, folder: Path) -> None:
    with _small_vocabulary():
        _from_file("ggml-x.bin", partial(_consumed, ggml_reader.read), data, folder)


def _onnx_bytes() -> bytes:
    """A graph with two initializers, one in each kind of message that is read."""

    def field(number: int, content: bytes) -> bytes:
        return _varint(number << 3 | 2) + _varint(len(content)) + content

    def tensor(name: bytes, values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> bytes:
        dims = b"".join(_varint(1 << 3) + _varint(size) for size in values.shape)
        return dims + _varint(2 << 3) + _varint(1) + field(8, name) + field(9, values.tobytes())

    first = tensor(b"a", np.ones((2, 3), np.float32))
    second = tensor(b"b", np.zeros((1,), np.float32))
    return field(7, field(5, first) + field(5, second) + field(1, b"node"))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, low = value >> 7, value & 127
        encoded.append(low | (128 if value else 0))
        if not value:
            return bytes(encoded)


def _run_onnx(data: bytes, folder: Path) -> None:
    VoiceNetwork(_from_file("x.onnx", read_initializers, data, folder))  # type: ignore[arg-type]


def _run_detect(data: bytes, folder: Path) -> None:
    _from_file("x", detect.read_checkpoint, data, folder)


def _run_record(data: bytes, folder: Path) -> None:
    """A compiled file and its record, cut apart at the first zero byte."""
    record, _, compiled = data.partition(b"\0")
    with mock.patch.dict(os.environ, {cache.CACHE_VARIABLE: str(folder)}):
        target = artifacts.compiled_folder()
        target.mkdir(exist_ok=True)
        (target / f"{'0' * 32}.mef").write_bytes(compiled)
        (target / f"{'0' * 32}.json").write_bytes(record)
        artifacts.stored_artifacts()


def _record_seeds(_folder: Path) -> list[bytes]:
    from tests.implementations.max_graph.test_artifacts import REQUEST

    record = {
        "key": "0" * 32,
        "sha256": hashlib.sha256(b"graphs").hexdigest(),
        "max": "26.7.0",
        "request": json.loads(REQUEST.to_json()),
    }
    return [json.dumps(record).encode() + b"\0graphs"]


def _run_cache_record(data: bytes, folder: Path) -> None:
    with mock.patch.dict(os.environ, {cache.CACHE_VARIABLE: str(folder / "cache")}):
        file = folder / "model"
        file.write_bytes(b"x")
        cache.record_sha256(file, "0")
        (record,) = (folder / "cache" / "checked").iterdir()
        record.write_bytes(data)
        cache.sha256_of(file)
        cache.is_written(file)


def _run_configuration(data: bytes, folder: Path) -> None:
    path = folder / "maxwhisper.toml"
    path.write_bytes(data)
    context = typer.Context(_GROUP, info_name="maxwhisper")
    Settings(context, chosen=path).check_all()
    with mock.patch("pathlib.Path.cwd", return_value=folder):
        Settings(context).check_all()


_GROUP = typer.main.get_command(make_app())


def _run_style(data: bytes, folder: Path) -> None:
    found = _from_file("x.toml", style.load_style, data, folder)
    assert isinstance(found, style.CaptionStyle)
    found.limits_for("es")


def _run_vocabulary(data: bytes, folder: Path) -> None:
    """Any of the JSON files that lie beside weights."""
    for name in vocabulary._READERS:
        (folder / name).write_bytes(data)
    list(vocabulary._declared_by_files(folder, DIMS))
    huggingface.assemble_with_config(folder / "x.bin", _TENSORS)


_TENSORS = checkpoints.random_tensors(DIMS)
_VOCABULARY_SEEDS = (
    b'{"<|notimestamps|>": 50363}',
    b'{"no_timestamps_token_id": 50362, "alignment_heads": [[0, 1]]}',
    b'{"added_tokens": [{"id": 50363, "content": "<|notimestamps|>"}]}',
    b'{"added_tokens_decoder": {"50363": {"content": "<|notimestamps|>"}}}',
    b'{"decoder_start_token_id": 50258, "encoder_attention_heads": 2}',
    b'["a", "<|notimestamps|>"]',
)


def _run_texts(data: bytes, _folder: Path) -> None:
    """Texts of options, each with its own parser."""
    text = data.decode("utf-8", "surrogateescape")
    hub_model(text)
    answer.complete(_TABLE, answer.split(text)[1:] or [""])
    for parse in (
        parse_language,
        parse_heads,
        lambda each: parse_numbers(each, float, "--x"),
        lambda each: parse_numbers(each, int, "--x"),
        lambda each: parse_batch_size(each, 1),
    ):
        try:
            parse(text)
        except Exception as error:  # of ours: the next parser has its turn
            if not isinstance(error, MaxWhisperError):
                raise


_TABLE = make_table()
_TEXT_SEEDS = (
    *(b"maxwhisper transcribe --model=tin", b"a 'b c\" d", b"es-MX", b"zh-Hant-TW", b"3.1,4.2"),
    *(b"0,1.5,3", b"-1", b"auto", b"owner/name@refs/pr/1", b"owner/name/ggml-x.bin", b"castilian"),
)


def _run_times(data: bytes, _folder: Path) -> None:
    """Times of cues: never a minus sign, a minute or a second beyond 59."""
    seconds = struct.unpack("<d", data[:8].ljust(8, b"\0"))[0]
    if not 0 <= seconds < 1e9:
        return
    text = format_timestamp(seconds, always_include_hours=True)
    hours, minutes, rest = text.split(":")
    assert int(minutes) < 60, text
    assert float(rest) < 60, text
    found = int(hours) * 3600 + int(minutes) * 60 + float(rest)
    assert abs(found - seconds) <= 0.0005 + seconds * 1e-12, text


_CONFIG_SEEDS = (
    b'model = "small"\nseed = 1\n[transcribe]\nbeam-size = 5\noutput-format = ["srt", "json"]\n',
    b'output-dir = "out"\nvad = true\ntemperature = 0.5\nvad-threshold = 0.5\nthreads = 2\n',
    b'[tool.maxwhisper]\nlanguage = "es"\n[compare]\nruns = 3\n[compile]\ndtype = "int8"\n',
)
_STYLE_SEEDS = (
    b'base = "bbc"\nmax_line_width = 37\n[costs]\n[languages.es]\nmax_line_width = 42\n',
    b"max_lines = 2\nmin_seconds = 0.83\nmax_seconds = 7\n",
)
_TOML_TOKENS = (
    *(b"\n", b"=", b'"', b"'''", b"[", b"]", b"{", b"}", b"true", b"1979-05-27", b"inf", b"nan"),
    *(b"[transcribe]\n", b"[tool.maxwhisper]\n", b"offline = true\n", b"\\u0000", b"\xff", b"../"),
    *(b"model-dir", b"beam_size = 1\n", b"impl = 'cpu'\n", b"[[transcribe]]\n", b"a.b = 1\n"),
)
_JSON_TOKENS = (b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"\\ud800", b"\xff", b"[" * 5000)

_MANIFEST_SEEDS = (
    b'{"audio_filepath": "a.wav", "offset": 1.5, "duration": 2, "language": "es", "x": [1]}\n',
    b'{"audio_filepath": "https://example.org/a.mp3"}\n\n{"audio_filepath": "b.wav", "id": 7}\n',
)


def _run_manifest(data: bytes, folder: Path) -> None:
    """A manifest, the same compressed, a list, and the names of their outputs."""
    for name, read in (
        ("x.jsonl", lambda path: read_manifest(path, looks_for_files=False)),
        ("x.jsonl.gz", lambda path: read_manifest(path, looks_for_files=False)),
        ("x.txt", read_list),
    ):
        try:
            found = _from_file(name, read, data, folder)
        except MaxWhisperError:
            continue
        if name == "x.jsonl":
            names = output_names(found)  # type: ignore[arg-type]
            assert all(".." not in Path(each).parts for each in names), names
            assert not any(Path(each).is_absolute() for each in names), names


def _run_done(data: bytes, folder: Path) -> None:
    """Records of a run that goes on: no output outside of the folder is read or written."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    (out / "a.txt").write_text("a", encoding="utf-8")
    (out / FILE_NAME).write_bytes(data)
    done = DoneRecordings(out, {})
    done.options_key = "o"
    done.load()
    done.reuse("k", {"txt": out / "a.txt"})
    done.reuse("k", {"txt": out / "renamed.txt"})


def _done_seeds(_folder: Path) -> list[bytes]:
    sha256 = hashlib.sha256(b"a").hexdigest()
    entry = {"key": "k", "options": "o", "outputs": {"txt": ["a.txt", sha256]}, "seconds": 1.5}
    line = json.dumps(entry | {"language": "en"}).encode()
    return [line + b"\n", line + b"\n" + line[:40] + b"\n" + line]


def _run_reference(data: bytes, folder: Path) -> None:
    """A text beside a recording, with the same bytes as JSON beside it."""
    (folder / "x.txt").write_bytes(data)
    (folder / "x.json").write_bytes(data)
    with mock.patch.dict(os.environ, {cache.CACHE_VARIABLE: str(folder / "cache")}):
        with_reference(str(folder / "x.wav"), None)
    if data.startswith(b"{"):
        (folder / "x.txt").write_bytes(b"words")
        with_reference(str(folder / "x.wav"), None)


TARGETS: tuple[Target, ...] = (
    Target(
        "resume records",
        _run_done,
        _done_seeds,
        ("inputs/state.py",),
        (*_JSON_TOKENS, b"../", b"/etc/", b"\n", b"\0", b'"key": "k"', b"1e999", b"NaN"),
    ),
    Target(
        "references",
        _run_reference,
        lambda _: [b"words", "\ufeffw".encode("utf-16"), b'{"text": "words", "segments": []}'],
        ("compare/references.py",),
        (*_JSON_TOKENS, b"\xef\xbb\xbf", b"\xff\xfe\0\0", b"\0\0\xfe\xff", b"\0", b"\r"),
    ),
    Target(
        "manifests",
        _run_manifest,
        lambda _: [*_MANIFEST_SEEDS, gzip.compress(_MANIFEST_SEEDS[0]), b"a.wav\n# x\nb.mp3\n"],
        ("inputs/manifest.py", "inputs/expand.py", "inputs/naming.py", "inputs/input.py"),
        (*_JSON_TOKENS, b"../", b"/", b"file://", b"s3://", b"\0", b'"offset": -1', b"\x1f\x8b"),
    ),
    Target(
        "pt",
        partial(_from_file, "x.pt", partial(_consumed, openai_pt.read)),
        _pt_seeds,
        ("weights/openai_pt.py", "weights/torch_archive.py", "weights/state_pickle.py"),
        (
            b"PK\x01\x02",
            b"PK\x05\x06",
            b"PK\x03\x04",
            b"c__builtin__\neval\n",
            b"\x80\x02",
            b"}q\0",
        ),
    ),
    Target(
        "ctranslate2",
        partial(_from_file, "model.bin", partial(_consumed, ctranslate2.read)),
        _ctranslate2_seeds,
        ("weights/ctranslate2.py", "weights/mapped_file.py"),
        (b"WhisperSpec\0", b"decoder/embeddings/weight\0", b"_scale\0"),
    ),
    Target(
        "safetensors",
        partial(_from_file, "model.safetensors", partial(_consumed, huggingface.read)),
        _safetensors_seeds,
        ("weights/huggingface.py", "weights/canonical.py", "weights/mapped_file.py"),
        (b'"dtype":"BF16"', b'"shape":[0]', b'"data_offsets":[0,0]', b"weight_map", *_JSON_TOKENS),
    ),
    Target(
        "ggml",
        _run_ggml,
        _ggml_seeds,
        ("weights/ggml.py", "weights/ggml_blocks.py", "weights/mapped_file.py"),
        (b"encoder.conv1.bias", struct.pack("<3i", 2, 5, 8)),
    ),
    Target("silero", _run_onnx, lambda _: [_onnx_bytes()], ("weights/onnx.py",)),
    Target(
        "any weights",
        _run_detect,
        lambda folder: [*_pt_seeds(folder), *_ctranslate2_seeds(folder)[:1], *_VOCABULARY_SEEDS],
        ("weights/detect.py",),
        (b"lmgg", b"GGUF", b"PK\x03\x04", b"version https://git-lfs", b"<html", b"\x80\x02"),
    ),
    Target(
        "artifact records",
        _run_record,
        _record_seeds,
        ("max_graph/artifacts.py", "max_graph/request.py"),
        (b'"graphs"', b'"dims"', *_JSON_TOKENS),
    ),
    Target(
        "cache records",
        _run_cache_record,
        lambda _: [b'{"path": "/x", "n_bytes": 1, "mtime_ns": 1, "sha256": "0"}'],
        ("weights/cache.py",),
        _JSON_TOKENS,
    ),
    Target(
        "configuration",
        _run_configuration,
        lambda _: [*_CONFIG_SEEDS],
        ("configuration/settings.py", "configuration/files.py", "configuration/safety.py"),
        _TOML_TOKENS,
    ),
    Target(
        "caption styles",
        _run_style,
        lambda _: [*_STYLE_SEEDS],
        ("captions/style.py", "captions/limits.py"),
        _TOML_TOKENS,
    ),
    Target(
        "vocabularies",
        _run_vocabulary,
        lambda _: [*_VOCABULARY_SEEDS],
        ("weights/vocabulary.py", "weights/assembly.py"),
        _JSON_TOKENS,
    ),
    Target(
        "option texts",
        _run_texts,
        lambda _: [*_TEXT_SEEDS],
        ("completion/answer.py", "transcription/languages.py", "weights/hub.py", "cli_words.py"),
        (b"--", b"=", b"'", b'"', b"\\", b",", b"/", b"@", b"..", "世".encode(), b"\xff"),
    ),
    Target(
        "times of cues",
        _run_times,
        lambda _: [struct.pack("<d", value) for value in (0, 0.9995, 59.9996, 3599.9999, 86400.5)],
        ("writers/times.py",),
    ),
)
