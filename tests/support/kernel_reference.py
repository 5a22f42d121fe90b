"""Layouts that the CPU's kernels read, and how near their results are; `layers` computes these.

Written apart from the kernels and from the code that packs weights for them: matrices are read back
out of the packed arrays, so that rounding to a dtype is on both sides.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from implementations.max_graph.cpu.graphs.layouts import GROUP
from implementations.max_graph.cpu.weights import graph_weights
from implementations.max_graph.request import MatrixTypes
from tests.support.checkpoints import SMALL_DIMS
from weights.checkpoint import Checkpoint

Array = npt.NDArray[Any]

PANEL = 32

TOLERANCE = {"float32": 6e-6, "float16": 6e-6, "int8": 6e-6, "bfloat16": 1e-2}
"""Largest error, by the dtype of the matrices, relative to the largest number of a result.

Matrices are exact here and sums are in float32, 6e-8 a rounding, of up to 5,120 products; 4e-6 was
seen. Where products are of bfloat16, their other factor is rounded to 8 bits.
"""
STEP_TOLERANCE = {"float32": 1e-5, "float16": 1e-5, "int8": 1e-5, "bfloat16": 2e-2}
"""The same of a whole decoder of two layers, whose errors add up."""


def assert_near(found: Array, expected: Array, tolerance: float) -> None:
    assert found.shape == expected.shape
    largest = np.abs(expected).max(initial=1e-30)
    np.testing.assert_allclose(found / largest, expected / largest, rtol=0, atol=tolerance)


def random(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Normal numbers; the same ones again after a prime number of them, which is quicker."""
    n = min(math.prod(shape), 65537)
    numbers = scale * np.random.default_rng(seed).standard_normal(n, np.float32)
    return np.resize(numbers, shape)


@dataclass(frozen=True)
class Packed:
    """A matrix as an operation takes it, and the numbers that it means."""

    operands: list[Any]
    """Panels and scales."""
    matrix: Array
    """[n_out, n_in], float64."""


def packed(matrix: Array, dtype: str) -> Packed:
    """[n_out, n_in], or a convolution's [n_out, n_in, 3]; `int16` is for the token embedding."""
    name = "encoder.m" if dtype != "int16" else "decoder.token_embedding"
    checkpoint = Checkpoint(SMALL_DIMS, {f"{name}.weight": matrix}, (), Path("made-up"))
    arrays = graph_weights(checkpoint, MatrixTypes(dtype, dtype, dtype))
    panels = arrays[f"{name}.weight"]
    scales = arrays.get(f"{name}.scales")
    n_out, n_in = len(matrix), matrix[0].size
    if dtype == "bfloat16":
        bits = panels.reshape(len(panels), -1, PANEL, 2).transpose(0, 2, 1, 3)
        floats = (bits.astype(np.uint32) << 16).view(np.float32)
        numbers = floats.reshape(len(bits) * PANEL, -1).astype(np.float64)
        operands = [bfloat16_buffer(panels), np.ones(1, np.float32)]
        return Packed(operands, numbers[:n_out, :n_in])
    if dtype == "int16":
        assert scales is not None
        high, low = np.split(panels.astype(np.float64), 2)
        coarse, fine = np.split(scales.astype(np.float64), 2)
        numbers = rows_of(high) * coarse[:, None] + rows_of(low) * fine[:, None]
        return Packed([panels, scales], numbers[:n_out])
    numbers = rows_of(panels.astype(np.float64))
    if scales is not None:
        by_group = rows_of(scales.reshape(len(panels), -1, PANEL))
        numbers = numbers * by_group.astype(np.float64).repeat(GROUP, axis=1)[:, :n_in]
    operands = [panels, np.ones(1, np.float32) if scales is None else scales]
    return Packed(operands, numbers[:n_out])


def rows_of(panels: Array) -> Array:
    """[n_panels, n_in, PANEL] -> [n_panels * PANEL, n_in]."""
    return panels.transpose(0, 2, 1).reshape(-1, panels.shape[1])


def packed_keys(k: Array, dtype: str = "float32") -> Any:
    """[n_batch, n_head, n_ctx, head_dim] -> panels of positions; NaN lies behind the last key."""
    n_batch, n_head, n_ctx, head_dim = k.shape
    n_panels = -(-n_ctx // PANEL)
    blank = np.nan if dtype == "float32" else 0
    panels = np.full((n_batch, n_head, n_panels * PANEL, head_dim), blank, np.float32)
    panels[:, :, :n_ctx] = k
    panels = panels.reshape(n_batch, n_head, n_panels, PANEL, head_dim)
    if dtype == "float32":
        return np.ascontiguousarray(panels.swapaxes(3, 4))
    pairs = panels.reshape(n_batch, n_head, n_panels, PANEL, head_dim // 2, 2).swapaxes(3, 4)
    return upper_halves(pairs, (n_batch, n_head, n_panels, head_dim, PANEL))


def packed_values(v: Array, dtype: str = "float32") -> Any:
    """[n_batch, n_head, n_ctx, head_dim] -> columns in whole panels; NaN lies behind the last."""
    n_batch, n_head, n_ctx, head_dim = v.shape
    n_columns = -(-head_dim // PANEL) * PANEL
    n_rows = n_ctx if dtype == "float32" else -(-n_ctx // PANEL) * PANEL
    blank = np.nan if dtype == "float32" else 0
    values = np.full((n_batch, n_head, n_rows, n_columns), blank, np.float32)
    values[:, :, :n_ctx, :head_dim] = v
    if dtype == "float32":
        return values
    pairs = values.reshape(n_batch, n_head, n_rows // 2, 2, n_columns).swapaxes(3, 4)
    return upper_halves(pairs, values.shape)


def bfloat16_buffer(bits: Array) -> Any:
    """The upper halves of float32 numbers, as MAX takes them; the array must live as long."""
    from max.driver import Buffer
    from max.dtype import DType

    return Buffer.from_numpy(bits).view(DType.bfloat16, bits.shape)


def upper_halves(numbers: Array, shape: tuple[int, ...]) -> Any:
    """Numbers that bfloat16 holds exactly, on a cache line."""
    bits = (np.ascontiguousarray(numbers).view(np.uint32) >> 16).astype(np.uint16)
    memory = np.zeros(2 * bits.size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    aligned = memory[start : start + 2 * bits.size].view(np.uint16).reshape(shape)
    aligned[:] = bits.reshape(shape)
    return bfloat16_buffer(aligned)


def keys_of(panels: Array, n_ctx: int, *, in_pairs: bool = False) -> Array:
    """Unpacks what `packed_keys` returned, [n_batch, n_head, n_ctx, head_dim]."""
    n_batch, n_head, n_panels, head_dim, _ = panels.shape
    if in_pairs:
        pairs = panels.reshape(n_batch, n_head, n_panels, head_dim // 2, PANEL, 2)
        panels = pairs.swapaxes(4, 5).reshape(panels.shape)
    rows = panels.swapaxes(3, 4).reshape(n_batch, n_head, n_panels * PANEL, head_dim)
    return rows[:, :, :n_ctx]


def values_of(values: Array, n_ctx: int, head_dim: int, *, in_pairs: bool = False) -> Array:
    """Unpacks what `packed_values` returned, [n_batch, n_head, n_ctx, head_dim]."""
    if in_pairs:
        n_batch, n_head, n_rows, n_columns = values.shape
        pairs = values.reshape(n_batch, n_head, n_rows // 2, n_columns, 2)
        values = pairs.swapaxes(3, 4).reshape(values.shape)
    return values[:, :, :n_ctx, :head_dim]


def nearest_bfloat16(numbers: Array) -> Array:
    """Float32 numbers rounded to 8 significant bits, to even where between two."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    rounded: Array = (bits + (0x7FFF + (bits >> 16 & 1)) >> 16 << 16).view(np.float32)
    return rounded
