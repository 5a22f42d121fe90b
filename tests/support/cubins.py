"""Reads from a compiled file what its GPU kernels need: registers, stack and shared memory.

MAX keeps a CUDA image, an ELF file, for each kernel. The layout is NVIDIA's, of which CUDA Binary
Utilities print the same: `.nv.info` has attributes of a kernel by its symbol.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAGIC = b"\x7fELF\x02\x01"
EM_CUDA = 190
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SIZED, _REGISTERS, _FRAME_BYTES = 4, 0x2F, 0x11
"""Format of an attribute with a size and a value, and two attributes: a symbol and its number."""


@dataclass(frozen=True, slots=True)
class KernelNeeds:
    """Registers, stack and shared memory that a kernel needs."""

    name: str
    architecture: int
    """Compute capability, ten times the major version and the minor: 89."""
    registers: int
    """Registers of a thread."""
    stack_bytes: int
    """Bytes of a thread's stack, where registers are spilled to."""
    shared_bytes: int
    """Static shared memory of a block; what is asked for at the launch is not in the file."""


class _Section(NamedTuple):
    name: str
    data: bytes
    size: int
    link: int


def kernel_needs(compiled: bytes) -> list[KernelNeeds]:
    """Returns the needs of all kernels in a compiled file, in its order."""
    return [needs for image in _images(compiled) for needs in _needs(image)]


def _images(compiled: bytes) -> Iterator[bytes]:
    """Yields what begins with a CUDA image, to the end of the file."""
    at = compiled.find(MAGIC)
    while at >= 0:
        (machine,) = struct.unpack_from("<H", compiled, at + 18)
        if machine == EM_CUDA:
            yield compiled[at:]
        at = compiled.find(MAGIC, at + 1)


def _needs(image: bytes) -> Iterator[KernelNeeds]:
    fields = _HEADER.unpack_from(image)
    flags = fields[6]
    # From ELF ABI 8 on (CUDA 13) the architecture is the second byte of the flags.
    architecture = (flags >> 8 if image[8] >= 8 else flags) & 0xFF
    sections = _sections(image)
    shared = {each.name: each.size for each in sections}
    symbols = _symbols(sections)
    registers, frames = _attributes(sections)
    for symbol, n_registers in registers.items():
        name = symbols[symbol]
        yield KernelNeeds(
            name,
            architecture,
            n_registers,
            frames.get(symbol, 0),
            shared.get(f".nv.shared.{name}", 0),
        )


def _sections(image: bytes) -> list[_Section]:
    fields = _HEADER.unpack_from(image)
    at, size, n_sections, names_at = fields[5], fields[10], fields[11], fields[12]
    found = [_SECTION.unpack_from(image, at + i * size) for i in range(n_sections)]
    names = image[found[names_at][4] :]
    return [
        _Section(_text(names, each[0]), image[each[4] : each[4] + each[5]], each[5], each[6])
        for each in found
    ]


def _symbols(sections: list[_Section]) -> list[str]:
    (table,) = (each for each in sections if each.name == ".symtab")
    strings = sections[table.link].data
    return [_text(strings, symbol[0]) for symbol in _SYMBOL.iter_unpack(table.data)]


def _attributes(sections: list[_Section]) -> tuple[dict[int, int], dict[int, int]]:
    """Returns registers and bytes of the stack, by the numbers of symbols."""
    found: dict[int, dict[int, int]] = {_REGISTERS: {}, _FRAME_BYTES: {}}
    for section in sections:
        if section.name != ".nv.info":
            continue
        at = 0
        while at < len(section.data):
            kind, attribute, size = struct.unpack_from("<BBH", section.data, at)
            if kind == _SIZED and attribute in found:
                symbol, value = struct.unpack_from("<II", section.data, at + 4)
                found[attribute][symbol] = value
            at += 4 + (size if kind == _SIZED else 0)
    return found[_REGISTERS], found[_FRAME_BYTES]


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()
