"""Reader of the weights in an ONNX file: the initializers of its graph, in float32.

The file is one protocol buffer. Of its messages only those on the way to the numbers are read; the
graph's operations are not, and nothing is run.

Source: the messages ModelProto, GraphProto and TensorProto of onnx.proto.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from weights.checkpoint import Array
from weights.errors import WeightsError
from weights.mapped_file import MappedFile

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GRAPH, _INITIALIZER = (7, _BYTES), (5, _BYTES)
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = (1, _VARINT), (2, _VARINT), (8, _BYTES), (9, _BYTES)
"""Number and wire type of the fields that are read; a number of another type is another field."""
_FLOAT = 1
_MAX_VARINT_BITS = 64

Field = tuple[tuple[int, int], int, int]
"""Number and wire type of a field; its value, or the offset of its bytes; the offset behind it."""


def read_initializers(path: Path) -> dict[str, Array]:
    """Reads every initializer by name; the arrays are views of the mapped file.

    Raises:
        WeightsError: The file is damaged, no ONNX file, or holds other numbers than float32.
    """
    parser = _Parser(MappedFile(path))
    tensors: dict[str, Array] = {}
    for key, begin, end in parser.fields(0, parser.file.n_bytes):
        if key == _GRAPH:
            for inner, tensor_begin, tensor_end in parser.fields(begin, end):
                if inner == _INITIALIZER:
                    name, array = parser.tensor(tensor_begin, tensor_end)
                    tensors[name] = array
    if not tensors:
        raise WeightsError(f"{path}: not an ONNX file with weights; fetch or copy it again")
    return tensors


class _Parser:
    """Parser of the messages of one file; every length is checked against its message."""

    def __init__(self, file: MappedFile) -> None:
        self.file = file

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """Yields the fields of the message from `begin` to before `end`."""
        offset = begin
        while offset < end:
            key, offset = self.varint(offset, end)
            number, wire_type = key >> 3, key & 7
            value = offset
            if wire_type == _VARINT:
                value, offset = self.varint(offset, end)
            elif wire_type == _BYTES:
                n_bytes, value = self.varint(offset, end)
                offset = value + n_bytes
            elif wire_type in (_FIXED32, _FIXED64):
                offset += 4 if wire_type == _FIXED32 else 8
            else:
                raise self.damaged(f"there is no wire type {wire_type}")
            if offset > end:
                raise self.damaged(f"field {number} reaches beyond its message")
            yield (number, wire_type), value, offset

    def varint(self, offset: int, end: int) -> tuple[int, int]:
        """Reads a number of seven bits a byte; returns it and the offset behind it."""
        value = 0
        for shift in range(0, _MAX_VARINT_BITS, 7):
            if offset >= end:
                raise self.damaged("it ends within a number")
            byte = self.file.data[offset]
            offset += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, offset
        raise self.damaged("a number has more than 64 bits")

    def tensor(self, begin: int, end: int) -> tuple[str, Array]:
        """Reads one TensorProto; returns its name and its numbers."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for key, value, after in self.fields(begin, end):
            found.setdefault(key, []).append((value, after))
        shape = tuple(value for value, _ in found.get(_DIMS, ()))
        data_type = found.get(_DATA_TYPE, [(0, 0)])[-1][0]
        data = found.get(_RAW_DATA, [(begin, begin)])[-1]
        name_at = found.get(_NAME, [(begin, begin)])[-1]
        name = self.file.bytes_at(name_at[0], name_at[1] - name_at[0]).decode("utf-8", "replace")
        if data_type != _FLOAT:
            raise self.damaged(f"{name}: number format {data_type}, not float32")
        array = self.file.array(data[0], "f4", shape)
        if array.nbytes != data[1] - data[0]:
            raise self.damaged(f"{name}: {data[1] - data[0]} bytes for a shape of {list(shape)}")
        if not np.isfinite(array).all():
            raise self.damaged(f"{name}: holds no usable numbers")
        return name, array

    def damaged(self, reason: str) -> WeightsError:
        """Returns the error of a file that cannot be read on."""
        return WeightsError(
            f"{self.file.path}: damaged, or not an ONNX file: {reason}; fetch or copy it again"
        )
