"""Reader of whisper.cpp's files (`ggml-base.bin`): float32, float16 and five quantised types.

Quantised weights become float32. The vocabulary and the mel filters in the file must be Whisper's
own, since the tokens and the spectrogram are computed here. It runs nothing.

Source: the loader of whisper.cpp (`src/whisper.cpp`), and ggml's block types (`ggml-common.h`).
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from weights.assembly import assemble
from weights.checkpoint import Array, Checkpoint
from weights.dims import N_FFT, ModelDimensions
from weights.errors import WeightsError
from weights.ggml_blocks import BLOCK_TYPES, VALUES_PER_BLOCK, dequantise
from weights.mapped_file import MappedFile
from weights.whisper_assets import mel_filters, words_of

MAGIC = b"lmgg"
_SIZES = (
    *("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer"),
    *("n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels"),
)
"""Sizes of the header in the order of the file."""
_FLOATS: Mapping[int, str] = {0: "f4", 1: "f2"}
_MAX_RANK, _MAX_NAME_BYTES, _MAX_WORD_BYTES, _MAX_WORDS = 4, 128, 1024, 2**17
_FILTER_TOLERANCE = 1e-5
_CONV_BIASES = frozenset({"encoder.conv1.bias", "encoder.conv2.bias"})
"""Tensors that the file has as columns."""


@dataclass(slots=True)
class _Parser:
    """Parser that reads the file once, from its beginning to its end."""

    file: MappedFile
    offset: int = 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        """Reads numbers laid out as `layout` (struct's notation)."""
        values = self.file.unpack(layout, self.offset)
        self.offset += struct.calcsize(f"<{layout}")
        return values

    def bytes(self, n_bytes: int) -> bytes:
        """Reads bytes."""
        value = self.file.bytes_at(self.offset, n_bytes)
        self.offset += n_bytes
        return value

    def array(self, dtype: str, shape: tuple[int, ...]) -> Array:
        """Maps numbers."""
        array = self.file.array(self.offset, dtype, shape)
        self.offset += array.nbytes
        return array

    def damaged(self, reason: str) -> WeightsError:
        """Returns the error of a file that cannot be read on."""
        return WeightsError(
            f"{self.file.path}: damaged, or not a whisper.cpp file: {reason}; "
            "fetch or copy it again"
        )


def read(path: Path) -> Checkpoint:
    """Reads `path`, a file that whisper.cpp's converters and `quantize` write.

    Raises:
        WeightsError: It is damaged, of a type that is not read, not a complete Whisper model, or
            made for another vocabulary or other mel filters than Whisper's.
    """
    parser = _Parser(MappedFile(path))
    if parser.bytes(len(MAGIC)) != MAGIC:
        raise parser.damaged("it does not begin like one")
    *sizes, _type = parser.numbers(f"{len(_SIZES) + 1}i")
    dims = ModelDimensions(**dict(zip(_SIZES, sizes, strict=True)))
    _check_filters(parser, dims)
    _check_words(parser, dims)
    tensors: dict[str, Array] = {}
    for name, array in _tensors(parser):
        if name in tensors:
            raise parser.damaged(f"{name[:80]} is there twice")
        tensors[name] = array.reshape(-1) if name in _CONV_BIASES else array
    checkpoint = assemble(
        path, tensors, n_audio_head=dims.n_audio_head, n_text_head=dims.n_text_head
    )
    actual = asdict(checkpoint.dims)
    wrong = [f"{name} {size}" for name, size in asdict(dims).items() if size != actual[name]]
    if wrong:
        raise parser.damaged(f"its sizes ({', '.join(wrong)}) are not those of its tensors")
    return replace(checkpoint, has_vocabulary=True)


def _check_filters(parser: _Parser, dims: ModelDimensions) -> None:
    n_mels, n_bins = parser.numbers("2i")
    if (n_mels, n_bins) != (dims.n_mels, N_FFT // 2 + 1):
        raise parser.damaged(f"{n_mels} mel filters of {n_bins}")
    stored = parser.array("f4", (n_mels, n_bins))
    expected = mel_filters(n_mels)
    if expected is None:
        raise parser.damaged(f"Whisper has no {n_mels} mel filters")
    with np.errstate(all="ignore"):  # a damaged file's numbers
        is_same = bool((np.abs(stored - expected) <= _FILTER_TOLERANCE).all())
    if not is_same:
        raise WeightsError(
            f"{parser.file.path}: its mel filters are not Whisper's, which this program computes"
        )


def _check_words(parser: _Parser, dims: ModelDimensions) -> None:
    """Requires the words of the file to be Whisper's, but for those after the last of its own."""
    (n_words,) = parser.numbers("i")
    if not 0 < n_words <= min(dims.n_vocab, _MAX_WORDS):
        raise parser.damaged(f"{n_words} words")
    expected = words_of(is_multilingual=dims.is_multilingual)
    if n_words < len(expected):
        raise parser.damaged(f"{n_words} words of {len(expected)}")
    for index in range(n_words):
        (n_bytes,) = parser.numbers("I")
        if n_bytes > _MAX_WORD_BYTES:
            raise parser.damaged(f"a word of {n_bytes} bytes")
        word = parser.bytes(n_bytes)
        if index < len(expected) and word != expected[index]:
            raise WeightsError(
                f"{parser.file.path}: its vocabulary is none of Whisper's (word {index})"
            )


def _tensors(parser: _Parser) -> Iterator[tuple[str, Array]]:
    while parser.offset < parser.file.n_bytes:
        rank, n_name_bytes, kind = parser.numbers("3i")
        if not 0 < rank <= _MAX_RANK or not 0 < n_name_bytes <= _MAX_NAME_BYTES:
            raise parser.damaged(f"a tensor of {rank} dimensions, a name of {n_name_bytes} bytes")
        shape = tuple(reversed(parser.numbers(f"{rank}i")))
        name = parser.bytes(n_name_bytes).decode("utf-8", "replace")
        if min(shape) < 1:
            raise parser.damaged(f"{name} has shape {list(shape)}")
        yield name, _numbers(parser, name, kind, shape)


def _numbers(parser: _Parser, name: str, kind: int, shape: tuple[int, ...]) -> Array:
    if kind in _FLOATS:
        return parser.array(_FLOATS[kind], shape)
    block = BLOCK_TYPES.get(kind)
    if block is None:
        known = ", ".join(["f32", "f16", *(each.name for each in BLOCK_TYPES.values())])
        raise WeightsError(
            f"{parser.file.path}: {name} is of ggml's type {kind}, which is not read; "
            f"take a file of {known}"
        )
    *_, n_columns = shape
    if n_columns % VALUES_PER_BLOCK:
        raise parser.damaged(f"{name}: rows of {n_columns} in blocks of {VALUES_PER_BLOCK}")
    n_blocks = int(np.prod(shape, dtype=object)) // VALUES_PER_BLOCK
    stored = parser.array("u1", (n_blocks, block.n_bytes))
    values = dequantise(stored, block)
    if values is None:
        raise parser.damaged(f"{name}: its scales are no usable numbers")
    return values.reshape(shape)
