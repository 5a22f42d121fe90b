"""The reader of ONNX files: what it reads, and one clear line for what it cannot."""

import struct
from pathlib import Path

import numpy as np
import pytest

from weights.errors import WeightsError
from weights.onnx import read_initializers

RANDOM = np.random.default_rng(0)
TENSORS = {
    "a.weight": RANDOM.normal(size=(3, 4, 5)).astype(np.float32),
    "a.bias": RANDOM.normal(size=(300,)).astype(np.float32),
}


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def content(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: np.ndarray, data_type: int = 1) -> bytes:
    dims = b"".join(number(1, size) for size in array.shape)
    return dims + number(2, data_type) + content(8, name.encode()) + content(9, array.tobytes())


def model(*tensors: bytes) -> bytes:
    """A ModelProto with other fields of every wire type, and a node, around the tensors."""
    node = content(1, content(1, b"x") + number(3, 2**63))
    graph = node + b"".join(content(5, each) for each in tensors) + content(2, b"graph")
    fixed = varint(100 << 3 | 5) + b"abcd" + varint(101 << 3 | 1) + b"abcdefgh"
    return number(1, 8) + content(2, b"maker") + fixed + content(7, graph) + number(99, 1)


@pytest.fixture
def intact(tmp_path: Path) -> Path:
    path = tmp_path / "a.onnx"
    path.write_bytes(model(*(tensor(name, array) for name, array in TENSORS.items())))
    return path


def refusal(path: Path) -> str:
    """The one line that says why `path` is refused."""
    with pytest.raises(WeightsError) as caught:
        read_initializers(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    return message


def refusal_if_any(path: Path) -> str:
    try:
        read_initializers(path)
    except WeightsError as error:
        return str(error)
    return ""


def test_reads_every_tensor(intact: Path) -> None:
    found = read_initializers(intact)
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert np.array_equal(found[name], array)


def test_truncated_anywhere(intact: Path) -> None:
    whole = intact.read_bytes()
    for n_bytes in (0, 1, 3, 20, 40, 60, 300, len(whole) // 2, len(whole) - 1):
        intact.write_bytes(whole[:n_bytes])
        refusal(intact)


def test_flipped_bytes_never_escape(intact: Path) -> None:
    """A damaged file is refused or, where only numbers changed, read: nothing else happens."""
    whole = intact.read_bytes()
    generator = np.random.default_rng(1)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for offset in generator.integers(0, 120, size=2):
            damaged[offset] = generator.integers(256)
        intact.write_bytes(damaged)
        message = refusal_if_any(intact)
        assert message.isprintable()
        n_refused += bool(message)
    assert n_refused > 100


@pytest.mark.parametrize(
    ("bytes_of_file", "reason"),
    [
        (b"hello world", "wire type"),
        (b"\0" * 100, "not an ONNX file with weights"),
        (model(), "not an ONNX file with weights"),
        (b"\xff" * 30, "more than 64 bits"),
        (model(tensor("a", TENSORS["a.bias"], data_type=10)), "a: number format 10"),
        (
            model(number(1, 10) + number(2, 1) + content(9, b"x" * 48)),
            "48 bytes for a shape of [10]",
        ),
        (model(number(1, 2**40) + number(2, 1)), "truncated or damaged"),
        (model(number(1, 0) + number(2, 1)), "no tensor of Whisper has shape [0]"),
        (model(tensor("a", np.full(2, np.nan, np.float32))), "no usable numbers"),
        (content(7, b"")[:-1] + struct.pack("B", 9), "beyond its message"),
    ],
)
def test_foreign_or_damaged(tmp_path: Path, bytes_of_file: bytes, reason: str) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(bytes_of_file)
    assert reason in refusal(path)


def test_not_files(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.onnx")
    assert "not a regular file" in refusal(tmp_path)
