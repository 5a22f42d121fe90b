"""Reader of CTranslate2's Whisper models (`model.bin`): float32, float16, bfloat16 and quantised.

Reverses its converter: fused projections are split, zero key biases dropped, int8 and int16 weights
converted back to float32, the encoder's positions recomputed. It runs nothing.
"""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weights.assembly import assemble, read_alignment_heads
from weights.checkpoint import Array, Checkpoint
from weights.errors import WeightsError
from weights.mapped_file import BFLOAT16, MappedFile
from weights.names import from_ctranslate2

FILE_NAME = "model.bin"
_SPECIFICATION = b"WhisperSpec\0"
_VERSION = 6
_MIN_SCALE = 1e-30
_ROUNDED = 1e-2
"""Bound on the error of sinusoids that were rounded to half precision, with a margin."""
_DTYPES = {0: "f4", 1: "i1", 2: "i2", 3: "i4", 4: "f2", 5: BFLOAT16}
_EMBEDDING, _PROJECTION = "decoder/embeddings/weight", "decoder/projection/weight"
_ENCODER_POSITIONS = "encoder.positional_embedding"


def read(path: Path) -> Checkpoint:
    """Reads `path`, a `model.bin` or the folder that holds one.

    A `config.json` beside it supplies the alignment heads of a model that is not a named one.

    Raises:
        WeightsError: It is damaged, of another version, or not a complete Whisper model.
    """
    model_path = path / FILE_NAME if path.is_dir() else path
    variables = _Parser(MappedFile(model_path)).variables()
    try:
        tensors = _to_canonical(variables)
    except WeightsError as error:
        raise WeightsError(f"{model_path}: {error}") from error
    return assemble(
        model_path,
        tensors,
        n_audio_head=_scalar(variables, "encoder/num_heads"),
        n_text_head=_scalar(variables, "decoder/num_heads"),
        alignment_heads=read_alignment_heads(model_path.parent / "config.json"),
    )


class _Parser:
    """Parser that reads the file once: a header, the variables, then the aliases."""

    def __init__(self, file: MappedFile) -> None:
        self.file = file
        self.offset = 0

    def variables(self) -> dict[str, Array]:
        """Returns every variable by name; an alias is one more name of its variable."""
        (version,) = self.numbers("I")
        specification = self.string() if version == _VERSION else b""
        if specification != _SPECIFICATION:
            actual = specification.removesuffix(b"\0").decode("ascii", "replace")
            raise WeightsError(
                f"{self.file.path}: not a CTranslate2 Whisper model of version {_VERSION} "
                f"(version {version}{f', {actual}' if actual else ''}); convert it again with "
                "ct2-transformers-converter"
            )
        _revision, n_variables = self.numbers("II")
        variables = dict(self.variable() for _ in range(n_variables))
        (n_aliases,) = self.numbers("I")
        for _ in range(n_aliases):
            alias, name = self.name(), self.name()
            if name in variables:
                variables[alias] = variables[name]
        if self.offset != self.file.n_bytes:
            raise WeightsError(
                f"{self.file.path}: {self.file.n_bytes - self.offset} bytes too many after the "
                "last variable; fetch or copy it again"
            )
        return variables

    def variable(self) -> tuple[str, Array]:
        name = self.name()
        (rank,) = self.numbers("B")
        shape = self.numbers(f"{rank}I")
        dtype_id, n_bytes = self.numbers("BI")
        dtype = _DTYPES.get(dtype_id)
        if dtype is None:
            raise WeightsError(f"{self.file.path}: {name}: unknown number format {dtype_id}")
        array = self.file.array(self.offset, dtype, shape)
        n_expected_bytes = array.size * (2 if dtype == BFLOAT16 else array.itemsize)
        if n_expected_bytes != n_bytes:
            raise WeightsError(
                f"{self.file.path}: {name}: {n_bytes} bytes for a shape of {list(shape)}; "
                "the file is damaged, fetch or copy it again"
            )
        self.offset += n_bytes
        return name, array

    def numbers(self, layout: str) -> tuple[int, ...]:
        values = self.file.unpack(layout, self.offset)
        self.offset += struct.calcsize(f"<{layout}")
        return values

    def string(self) -> bytes:
        (n_bytes,) = self.numbers("H")
        value = self.file.bytes_at(self.offset, n_bytes)
        self.offset += n_bytes
        return value

    def name(self) -> str:
        return self.string().removesuffix(b"\0").decode("utf-8", "replace")


def _scalar(variables: dict[str, Array], name: str) -> int | None:
    value = variables.get(name)
    return int(value) if value is not None and value.ndim == 0 else None


def _to_canonical(variables: dict[str, Array]) -> dict[str, Array]:
    """Renames, dequantises and splits variables; settings (of rank 0) are left out."""
    embedding = variables.get(_EMBEDDING)
    tensors: dict[str, Array] = {}
    for name, stored in variables.items():
        is_tied = name == _PROJECTION and stored is embedding
        if stored.ndim == 0 or name.endswith("/weight_scale") or is_tied:
            continue
        scale = variables.get(f"{name}_scale")
        array = stored if scale is None else _dequantise(name, stored, scale)
        tensors.update(_split(from_ctranslate2(name), array))
    return _with_exact_positions(tensors)


def _dequantise(name: str, quantised: Array, scale: Array) -> npt.NDArray[np.float32]:
    """Divides integers by their scale: one for each row (int8), or one for all (int16)."""
    if scale.ndim > 1 or scale.size not in (1, *quantised.shape[:1]):
        raise WeightsError(f"{name}: its scale has shape {list(scale.shape)}; the file is damaged")
    if not ((scale > _MIN_SCALE) & (scale < 1 / _MIN_SCALE)).all():
        raise WeightsError(f"{name}: its scale is no usable number; the file is damaged")
    divisor = scale.astype(np.float32).reshape(-1, *([1] * (quantised.ndim - 1)))
    return quantised.astype(np.float32) / divisor


def _split(names: tuple[str, ...], array: Array) -> dict[str, Array]:
    """Splits fused projections by rows, and drops the key bias that Whisper does not have."""
    if array.shape[0] % len(names):
        raise WeightsError(f"{array.shape[0]} rows cannot be split into {', '.join(names)}")
    parts = dict(zip(names, np.split(array, len(names)), strict=True))
    for name in names:
        if name.endswith("attn.key.bias") and parts.pop(name).any():
            raise WeightsError(f"{name} is not zero; Whisper's keys have no bias")
    return parts


def _with_exact_positions(tensors: dict[str, Array]) -> dict[str, Array]:
    """Replaces encoder positions that are rounded sinusoids by the sinusoids themselves."""
    stored = tensors.get(_ENCODER_POSITIONS)
    if stored is None or stored.ndim != 2 or stored.shape[1] % 2 or stored.shape[1] < 4:
        return tensors
    exact = sinusoids(*stored.shape)
    with np.errstate(all="ignore"):  # a damaged file's numbers are no sinusoids
        is_rounded = np.abs(stored - exact).max() <= _ROUNDED
    return tensors | {_ENCODER_POSITIONS: exact} if is_rounded else tensors


def sinusoids(n_ctx: int, n_state: int) -> npt.NDArray[np.float32]:
    """Returns encoder positions, [n_ctx, n_state]: sines in the left half, cosines in the right.

    Wavelengths grow from 2 pi to 20000 pi. Angles are rounded to float32 where openai-whisper's
    `sinusoids` (whisper/model.py) rounds them, so that both agree to about 1e-4 and mostly exactly.
    """
    step = np.float32(np.log(10000) / (n_state // 2 - 1))
    exponents = -step * np.arange(n_state // 2, dtype=np.float32)
    frequencies = np.exp(exponents.astype(np.float64)).astype(np.float32)
    angles = np.arange(n_ctx, dtype=np.float32)[:, None] * frequencies
    angles = angles.astype(np.float64)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
