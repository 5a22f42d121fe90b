"""Matmuls of a few rows with integers that have a scale for every group of a column's inputs.

The sums are made in the order of skinny_matmul.mojo, of numbers that are integer times scale.
"""
from std.math import ceildiv
from .prefetch import prefetch_line
from .row_block import Scalars
from .skinny_matmul import AHEAD, MAX_ROWS, N_ACCUMULATORS, N_PARTS
from .tile import F32, GROUP, PANEL, WIDTH, Floats, Vector

comptime Bytes = Scalars[DType.int8]


@no_inline
def skinny_tile_groups[
    rows: Int, n_vectors: Int
](
    into: Floats,
    into_stride: Int,
    a: Floats,
    a_stride: Int,
    b: Bytes,
    scales: Floats,
    depth: Int,
):
    """Does the work of `skinny_tile` for columns of a panel.

    Parameters:
        rows: Rows of the tile, a few.
        n_vectors: Columns, in vectors.

    Args:
        into: [rows, n_vectors * WIDTH].
        into_stride: Floats from one row of `into` to the next.
        a: Left factor, [rows, depth].
        a_stride: Floats from one row of `a` to the next.
        b: Right factor, columns of [depth, PANEL].
        scales: The same columns of [n_groups, PANEL].
        depth: Length of the sums, a multiple of N_PARTS.
    """
    comptime n_sums = n_vectors * rows
    var sums = Array[Vector, n_sums * N_PARTS](fill=Vector(0))
    for start in range(0, depth, GROUP):
        var scale = Array[Vector, n_vectors](fill=Vector(0))
        comptime for v in range(n_vectors):
            scale[v] = scales.unsafe_load[width=WIDTH](start // GROUP * PANEL + v * WIDTH)
        for k in range(start, min(start + GROUP, depth), N_PARTS):
            comptime for u in range(N_PARTS):
                var line = b.unsafe_offset((k + u) * PANEL)
                comptime if u * PANEL % 64 == 0:
                    prefetch_line(line.unsafe_offset(AHEAD))
                comptime for v in range(n_vectors):
                    var factors = line.unsafe_load[width=WIDTH](v * WIDTH).cast[F32]() * scale[v]
                    comptime for i in range(rows):
                        comptime at = u * n_sums + i * n_vectors + v
                        var x = Vector(a.unsafe_load(i * a_stride + k + u))
                        sums[at] = x.fma(factors, sums[at])
    comptime for i in range(rows):
        comptime for v in range(n_vectors):
            var total = sums[i * n_vectors + v]
            comptime for u in range(1, N_PARTS):
                total += sums[u * n_sums + i * n_vectors + v]
            into.unsafe_store(i * into_stride + v * WIDTH, total)


@always_inline
def skinny_matmul_groups(
    n_rows: Int,
    into: Floats,
    into_stride: Int,
    a: Floats,
    a_stride: Int,
    b: Bytes,
    scales: Floats,
    depth: Int,
):
    """Does the work of `skinny_tile_groups` for any number of rows and SPAN columns."""
    var row = 0
    for pass_left in reversed(range(1, ceildiv(n_rows, MAX_ROWS) + 1)):
        var n = ceildiv(n_rows - row, pass_left)
        var to = into.unsafe_offset(row * into_stride)
        var x = a.unsafe_offset(row * a_stride)
        comptime for rows in range(1, MAX_ROWS + 1):
            if n == rows:
                comptime if 2 * rows * N_PARTS <= N_ACCUMULATORS:
                    skinny_tile_groups[rows, 2](to, into_stride, x, a_stride, b, scales, depth)
                else:
                    comptime for v in range(2):
                        skinny_tile_groups[rows, 1](
                            to.unsafe_offset(v * WIDTH), into_stride, x, a_stride,
                            b.unsafe_offset(v * WIDTH), scales.unsafe_offset(v * WIDTH), depth,
                        )
        row += n
