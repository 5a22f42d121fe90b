"""The product of a few rows with a matrix [n_out, n_in] in half precision.

As vector.mojo has it for one row: a warp reads its rows of the matrix once, for all that they are
multiplied with, and has them on their way before that is there.
"""
import max.gpu.primitives.warp as warp
from max.gpu import block_idx, grid_dim, lane_id, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv
from std.memory import unsafe_stack_allocation
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Floats, Memory
from .rows import PART, normed_row
from .vector import (
    COLUMNS,
    MOST_BLOCKS,
    STEP,
    WARPS,
    finish,
    normed_vector_kernel,
    plain_vector_kernel,
)

comptime FEW = 5
"""So many rows at most: the beams, or samples, of a window by default. Fewer cost as many."""


def normed_few_kernel[
    w_type: DType, out_type: DType, has_gelu: Bool, n_parts: Int
](
    into: Memory[out_type],
    x: Floats,
    w: Memory[w_type],
    bias: Floats,
    norm_weight: Floats,
    norm_bias: Floats,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
):
    """A block normalises the rows into shared memory; each warp computes outputs in turn."""
    let_next_start()
    comptime width = n_parts * PART
    var rows = unsafe_stack_allocation[
        FEW * width, Float32, alignment=16, address_space=.SHARED
    ]()
    var size = Int(n_in)
    var shift = Int(lane_id()) * STEP
    var stride = Int(grid_dim.x) * WARPS * COLUMNS
    var first = (Int(block_idx.x) * WARPS + Int(warp_id())) * COLUMNS
    var factors = Array[SIMD[w_type, STEP], n_parts * COLUMNS](fill=SIMD[w_type, STEP](0))

    @__parameter
    @always_inline
    def fetch(columns: Int):
        comptime for i in range(n_parts):
            var k = i * PART + shift
            if k < size:
                comptime for j in range(COLUMNS):
                    var column = min(columns + j, Int(n_out) - 1)
                    factors[i * COLUMNS + j] = w.unsafe_load[width=STEP, alignment=2 * STEP](
                        column * size + k
                    )

    fetch(first)
    wait_for_previous()
    for row in range(Int(warp_id()), Int(n_rows), WARPS):
        var parts = normed_row[n_parts](x.unsafe_offset(row * size), norm_weight, norm_bias, size)
        comptime for i in range(n_parts):
            var k = i * PART + shift
            if k < size:
                rows.unsafe_store[width=STEP, alignment=16](row * width + k, parts[i])
    barrier()
    for columns in range(first, Int(n_out), stride):
        var found = Array[SIMD[F32, STEP], FEW * COLUMNS](fill=SIMD[F32, STEP](0))
        comptime for i in range(n_parts):
            var k = i * PART + shift
            if k < size:
                comptime for row in range(FEW):
                    var part = rows.unsafe_load[width=STEP, alignment=16](row * width + k)
                    comptime for j in range(COLUMNS):
                        comptime at = row * COLUMNS + j
                        var factor = factors[i * COLUMNS + j].cast[F32]()
                        found[at] = part.fma(factor, found[at])
        if columns + stride < Int(n_out):
            fetch(columns + stride)
        var sums = Array[Float32, FEW * COLUMNS](fill=0)
        comptime for at in range(FEW * COLUMNS):
            sums[at] = warp.sum(found[at].reduce_add())
        comptime for at in range(FEW * COLUMNS):
            comptime row = at // COLUMNS
            var column = columns + at % COLUMNS
            if Int(lane_id()) == at and row < Int(n_rows) and column < Int(n_out):
                finish[out_type, has_gelu, False](
                    into.unsafe_offset(row * Int(n_out)), bias, bias, sums[at], column
                )


def multiply_few[
    x_type: DType,
    w_type: DType,
    out_type: DType,
    has_norm: Bool,
    has_gelu: Bool,
    has_residual: Bool,
    n_parts: Int,
](
    into: Memory[out_type],
    x: Memory[x_type],
    w: Memory[w_type],
    bias: Floats,
    residual: Floats,
    norm_weight: Floats,
    norm_bias: Floats,
    n_rows: Int,
    n_in: Int,
    n_out: Int,
    ctx: DeviceContext,
) raises:
    """Compute act(norm(x) w^T + bias) + residual for up to FEW rows.

    n_in is a multiple of 4, and n_parts * PART at most where there is a norm.
    """

    var n_blocks = min(ceildiv(n_out, WARPS * COLUMNS), MOST_BLOCKS)

    @__parameter
    def plain[rows: Int]() raises:
        ctx.enqueue_function[
            plain_vector_kernel[x_type, w_type, out_type, has_gelu, has_residual, rows]
        ](
            into,
            x,
            w,
            bias,
            residual,
            Int32(n_rows),
            Int32(n_in),
            Int32(n_out),
            grid_dim=ceildiv(n_out, WARPS),
            block_dim=WARPS * 32,
            attributes=early(),
        )

    comptime if has_norm:
        comptime assert not has_residual, "no layer of Whisper has both"
        var floats = rebind[Floats](x)
        if n_rows == 1:
            ctx.enqueue_function[normed_vector_kernel[w_type, out_type, has_gelu, n_parts]](
                into,
                floats,
                w,
                bias,
                norm_weight,
                norm_bias,
                Int32(n_in),
                Int32(n_out),
                grid_dim=n_blocks,
                block_dim=WARPS * 32,
                attributes=early(),
            )
        else:
            ctx.enqueue_function[normed_few_kernel[w_type, out_type, has_gelu, n_parts]](
                into,
                floats,
                w,
                bias,
                norm_weight,
                norm_bias,
                Int32(n_rows),
                Int32(n_in),
                Int32(n_out),
                grid_dim=n_blocks,
                block_dim=WARPS * 32,
                attributes=early(),
            )
    else:
        if n_rows == 1:
            plain[1]()
        else:
            plain[FEW]()
