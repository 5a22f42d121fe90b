"""The product of a few rows with a matrix [n_out, n_in] in half precision.

As vector.mojo has it for one row: a warp reads its rows of the matrix once, for all that they are
multiplied with, and has them on their way before that is there.
"""
import max.gpu.primitives.warp as warp
from max.gpu import block_idx, grid_dim, lane_id, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv, sqrt
from std.memory import unsafe_stack_allocation
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Floats, Memory, load
from .rows import PART
from .vector import COLUMNS, MOST_BLOCKS, PARTS, STEP, WARPS, finish

comptime FEW = 8
"""So many rows at most."""


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
        var parts = Array[SIMD[F32, STEP], n_parts](fill=SIMD[F32, STEP](0))
        var sums = SIMD[F32, STEP](0)
        comptime for i in range(n_parts):
            if i * PART + shift < size:
                parts[i] = load[STEP](x, row * size + i * PART + shift)
                sums += parts[i]
        var mean = warp.sum(sums.reduce_add()) / Float32(n_in)
        var squares = SIMD[F32, STEP](0)
        comptime for i in range(n_parts):
            if i * PART + shift < size:
                squares += (parts[i] - mean) ** 2
        var scale = 1 / sqrt(warp.sum(squares.reduce_add()) / Float32(n_in) + 1e-5)
        comptime for i in range(n_parts):
            var k = i * PART + shift
            if k < size:
                var normed = (parts[i] - mean) * scale * load[STEP](norm_weight, k)
                rows.unsafe_store[width=STEP, alignment=16](
                    row * width + k, normed + load[STEP](norm_bias, k)
                )
    barrier()
    for columns in range(first, Int(n_out), stride):
        var found = Array[SIMD[F32, STEP], FEW * COLUMNS](fill=SIMD[F32, STEP](0))
        comptime for i in range(n_parts):
            var k = i * PART + shift
            if k < size:
                comptime for row in range(FEW):
                    if row < Int(n_rows):
                        var part = rows.unsafe_load[width=STEP, alignment=16](row * width + k)
                        comptime for j in range(COLUMNS):
                            comptime at = row * COLUMNS + j
                            var factor = factors[i * COLUMNS + j].cast[F32]()
                            found[at] = part.fma(factor, found[at])
        if columns + stride < Int(n_out):
            fetch(columns + stride)
        comptime for row in range(FEW):
            if row < Int(n_rows):
                comptime for j in range(COLUMNS):
                    var sum = warp.sum(found[row * COLUMNS + j].reduce_add())
                    if Int(lane_id()) == j and columns + j < Int(n_out):
                        finish[out_type, has_gelu, False](
                            into.unsafe_offset(row * Int(n_out)), bias, bias, sum, columns + j
                        )


def plain_few_kernel[
    x_type: DType, w_type: DType, out_type: DType, has_gelu: Bool, has_residual: Bool
](
    into: Memory[out_type],
    x: Memory[x_type],
    w: Memory[w_type],
    bias: Floats,
    residual: Floats,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
):
    """A warp computes an output of each row."""
    let_next_start()
    var size = Int(n_in)
    var shift = Int(lane_id()) * STEP
    var column = Int(block_idx.x) * WARPS + Int(warp_id())
    var line = min(column, Int(n_out) - 1) * size
    var sums = Array[SIMD[F32, STEP], FEW](fill=SIMD[F32, STEP](0))
    for start in range(0, size, PARTS * PART):
        var factors = Array[SIMD[w_type, STEP], PARTS](fill=SIMD[w_type, STEP](0))
        comptime for i in range(PARTS):
            var k = start + i * PART + shift
            if k < size:
                factors[i] = w.unsafe_load[width=STEP, alignment=2 * STEP](line + k)
        if start == 0:
            wait_for_previous()
        comptime for row in range(FEW):
            if row < Int(n_rows):
                comptime for i in range(PARTS):
                    var k = start + i * PART + shift
                    if k < size:
                        var part = load[STEP](x, row * size + k)
                        sums[row] = part.fma(factors[i].cast[F32](), sums[row])
    comptime for row in range(FEW):
        if row < Int(n_rows):
            var sum = warp.sum(sums[row].reduce_add())
            if Int(lane_id()) == row and column < Int(n_out):
                finish[out_type, has_gelu, has_residual](
                    into.unsafe_offset(row * Int(n_out)),
                    bias,
                    residual.unsafe_offset(row * Int(n_out)),
                    sum,
                    column,
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
    """Compute act(norm(x) w^T + bias) + residual for up to FEW rows; see `multiply_row`."""
    comptime if has_norm:
        ctx.enqueue_function[normed_few_kernel[w_type, out_type, has_gelu, n_parts]](
            into,
            rebind[Floats](x),
            w,
            bias,
            norm_weight,
            norm_bias,
            Int32(n_rows),
            Int32(n_in),
            Int32(n_out),
            grid_dim=min(ceildiv(n_out, WARPS * COLUMNS), MOST_BLOCKS),
            block_dim=WARPS * 32,
            attributes=early(),
        )
    else:
        ctx.enqueue_function[plain_few_kernel[x_type, w_type, out_type, has_gelu, has_residual]](
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
