"""Mutations of valid inputs, reproducible by their seed."""

import random
import re
import struct
from collections.abc import Callable, Sequence

_INTERESTING = (0, 1, 2, 7, 8, 127, 128, 255, 256, 1500, 32767, 32768, 65535, 65536, 2**31 - 1)
_SIGNED = (*(-number for number in _INTERESTING[1:]), -(2**31))
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_TEXT_NUMBERS = (
    *(b"0", b"-0", b"-1", b"1e999", b"-1e-999", b"nan", b"inf", b"NaN", b"Infinity", b"1.5"),
    *(b"9" * 30, b"2147483648", b"18446744073709551616", b"0x10", b"1_000", b"", b"null", b"true"),
)
_MAX_BYTES = 2**21


def mutated(
    data: bytes, corpus: Sequence[bytes], tokens: Sequence[bytes], generator: random.Random
) -> bytes:
    """Applies one to six mutations.

    Args:
        data: An input.
        corpus: Others, to take parts from.
        tokens: Pieces that mean something in this format.
        generator: Source of all choices.
    """
    for _ in range(generator.choice((1, 1, 1, 2, 2, 3, 6))):
        mutation = generator.choice(_MUTATIONS)
        data = mutation(data, corpus, tokens, generator)[:_MAX_BYTES]
    return data


def _at(data: bytes, generator: random.Random, n_bytes: int = 1) -> int:
    """A position; beginnings and ends of files hold more that is read."""
    last = max(0, len(data) - n_bytes)
    near = min(last, 256)
    kind = generator.random()
    if kind < 0.4:
        return generator.randint(0, near)
    return generator.randint(last - near, last) if kind < 0.55 else generator.randint(0, last)


def _flip(data: bytes, _c: object, _t: object, generator: random.Random) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[_at(data, generator)] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _integer(data: bytes, _c: object, _t: object, generator: random.Random) -> bytes:
    size, code = generator.choice(((1, "b"), (2, "h"), (4, "i"), (8, "q")))
    at = _at(data, generator, size)
    limit = 2 ** (8 * size - 1)
    value = generator.choice(_INTERESTING + _SIGNED)
    value = (value + limit) % (2 * limit) - limit
    order = generator.choice("<<<>")
    return data[:at] + struct.pack(order + code, value) + data[at + size :]


def _increment(data: bytes, _c: object, _t: object, generator: random.Random) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    at = _at(data, generator)
    changed[at] = (changed[at] + generator.choice((-2, -1, 1, 2, 16))) % 256
    return bytes(changed)


def _delete(data: bytes, _c: object, _t: object, generator: random.Random) -> bytes:
    at = _at(data, generator)
    return data[:at] + data[at + generator.choice((1, 1, 2, 4, 8, 64, 1024)) :]


def _truncate(data: bytes, _c: object, _t: object, generator: random.Random) -> bytes:
    return data[: _at(data, generator)]


def _insert(data: bytes, _c: object, _t: object, generator: random.Random) -> bytes:
    at = _at(data, generator)
    return data[:at] + generator.randbytes(generator.choice((1, 1, 2, 4, 8, 64))) + data[at:]


def _repeat(data: bytes, _c: object, _t: object, generator: random.Random) -> bytes:
    at = _at(data, generator)
    part = data[at : at + generator.choice((1, 4, 16, 128))]
    return data[:at] + part * generator.choice((2, 2, 3, 50)) + data[at + len(part) :]


def _splice(data: bytes, corpus: Sequence[bytes], _t: object, generator: random.Random) -> bytes:
    other = generator.choice(corpus)
    at, begin = _at(data, generator), _at(other, generator)
    n_bytes = generator.choice((4, 16, 256, len(other)))
    return data[:at] + other[begin : begin + n_bytes] + data[at + n_bytes :]


def _token(data: bytes, _c: object, tokens: Sequence[bytes], generator: random.Random) -> bytes:
    if not tokens:
        return data
    token, at = generator.choice(tokens), _at(data, generator)
    replaced = generator.choice((0, len(token)))
    return data[:at] + token + data[at + replaced :]


def _text_number(data: bytes, _c: object, _t: object, generator: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data[:65536]))
    if not found:
        return data
    begin, end = generator.choice(found).span()
    return data[:begin] + generator.choice(_TEXT_NUMBERS) + data[end:]


_Mutation = Callable[[bytes, Sequence[bytes], Sequence[bytes], random.Random], bytes]
_MUTATIONS: tuple[_Mutation, ...] = (
    *(_flip, _integer, _integer, _increment, _delete, _truncate, _insert, _repeat),
    *(_splice, _token, _token, _text_number),
)
