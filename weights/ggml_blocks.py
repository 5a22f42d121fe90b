"""Ggml's quantised blocks: 32 numbers as small integers, with one scale and maybe one offset.

| type | bytes of a block | a number |
| --- | --- | --- |
| q4_0 | scale, 32 of 4 bits | scale x (integer - 8) |
| q4_1 | scale, offset, 32 of 4 bits | scale x integer + offset |
| q5_0 | scale, 32 fifth bits, 32 of 4 bits | scale x (integer - 16) |
| q5_1 | scale, offset, 32 fifth bits, 32 of 4 bits | scale x integer + offset |
| q8_0 | scale, 32 signed bytes | scale x integer |

Scales and offsets are float16. Of 16 bytes with two integers each, the low halves come first.
Source: `dequantize_row_*` in ggml's `ggml-quants.c`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

VALUES_PER_BLOCK = 32
_HALF = VALUES_PER_BLOCK // 2


@dataclass(frozen=True, slots=True)
class BlockType:
    """Layout of a block."""

    name: str
    n_bits: int
    has_offset: bool

    @property
    def n_bytes(self) -> int:
        """Size of a block."""
        return 2 * (1 + self.has_offset) + VALUES_PER_BLOCK * self.n_bits // 8


BLOCK_TYPES: Mapping[int, BlockType] = {
    2: BlockType("q4_0", 4, has_offset=False),
    3: BlockType("q4_1", 4, has_offset=True),
    6: BlockType("q5_0", 5, has_offset=False),
    7: BlockType("q5_1", 5, has_offset=True),
    8: BlockType("q8_0", 8, has_offset=False),
}
"""Types by ggml's numbers."""


def dequantise(
    blocks: npt.NDArray[np.uint8], block_type: BlockType
) -> npt.NDArray[np.float32] | None:
    """Returns the numbers of blocks; None if a scale or an offset is not finite.

    Args:
        blocks: [n_blocks, n_bytes].
        block_type: Their layout.

    Returns:
        [n_blocks, 32].
    """
    n_header = 2 * (1 + block_type.has_offset)
    header = np.ascontiguousarray(blocks[:, :n_header]).view("<f2").astype(np.float32)
    if not np.isfinite(header).all():
        return None
    values = _integers(blocks[:, n_header:], block_type.n_bits).astype(np.float32)
    if not block_type.has_offset and block_type.n_bits < 8:
        values -= 1 << (block_type.n_bits - 1)
    values *= header[:, :1]
    if block_type.has_offset:
        values += header[:, 1:]
    return values


def _integers(packed: npt.NDArray[np.uint8], n_bits: int) -> npt.NDArray[np.int8]:
    """[n_blocks, n_bytes] -> [n_blocks, 32]."""
    if n_bits == 8:
        return packed.view(np.int8)
    halves = packed[:, -_HALF:]
    integers = np.concatenate([halves & 0xF, halves >> 4], axis=1).view(np.int8)
    if n_bits == 5:
        fifth = np.unpackbits(packed[:, :4], axis=1, bitorder="little").view(np.int8)
        integers |= fifth << 4
    return integers
