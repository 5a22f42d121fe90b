"""Matmul of up to five rows with a matrix [n_out, n_in] in half precision.

As gemv.mojo has it for one row: a warp reads its rows of the matrix once, for all that they are
multiplied with, and loads them before the kernel waits for the one ahead of it.
"""
import max.gpu.primitives.warp as warp
from max.gpu import WARP_SIZE, block_idx, grid_dim, lane_id, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv
from std.memory import unsafe_stack_allocation
from .gemv import (
    COLUMNS,
    FILLING_BLOCKS,
    STEP,
    WARPS,
    gemv_kernel,
    load_columns,
    norm_gemv_kernel,
    store_output,
)
from .layer_norm import WARP_CHUNK, normalized_row
from .multiprocessors import multiprocessors
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer

comptime MAX_SKINNY_ROWS = 5
"""The beams, or samples, of a window by default; from two rows on all numbers cost the same."""


def norm_skinny_matmul_kernel[
    *, w_type: DType, out_type: DType, has_gelu: Bool, n_chunks: Int
](
    output: DevicePointer[out_type],
    x: FloatPointer,
    w: DevicePointer[w_type],
    bias: FloatPointer,
    norm_weight: FloatPointer,
    norm_bias: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
):
    """Computes act(norm(x) w^T + bias) of up to MAX_SKINNY_ROWS rows.

    A block normalizes the rows into shared memory, and each warp computes COLUMNS outputs at a
    time. For parameters and arguments see `norm_gemv_kernel`; `n_rows` is the number of rows.
    """
    launch_dependents()
    comptime width = n_chunks * WARP_CHUNK
    var rows = unsafe_stack_allocation[
        MAX_SKINNY_ROWS * width, Float32, alignment=16, address_space=.SHARED
    ]()
    var size = Int(n_in)
    var shift = Int(lane_id()) * STEP
    var stride = Int(grid_dim.x) * WARPS * COLUMNS
    var first = (Int(block_idx.x) * WARPS + Int(warp_id())) * COLUMNS
    var factors = Array[SIMD[w_type, STEP], n_chunks * COLUMNS](fill=SIMD[w_type, STEP](0))
    load_columns[w_type, n_chunks](w, factors, first, size, Int(n_out))
    wait_on_dependencies()
    for row in range(Int(warp_id()), Int(n_rows), WARPS):
        var chunks = normalized_row[n_chunks](
            x.unsafe_offset(row * size), norm_weight, norm_bias, size
        )
        comptime for i in range(n_chunks):
            var k = i * WARP_CHUNK + shift
            if k < size:
                rows.unsafe_store[width=STEP, alignment=16](row * width + k, chunks[i])
    barrier()
    for columns in range(first, Int(n_out), stride):
        var acc = Array[SIMD[F32, STEP], MAX_SKINNY_ROWS * COLUMNS](fill=SIMD[F32, STEP](0))
        comptime for i in range(n_chunks):
            var k = i * WARP_CHUNK + shift
            if k < size:
                comptime for row in range(MAX_SKINNY_ROWS):
                    var chunk = rows.unsafe_load[width=STEP, alignment=16](row * width + k)
                    comptime for j in range(COLUMNS):
                        comptime at = row * COLUMNS + j
                        acc[at] = chunk.fma(factors[i * COLUMNS + j].cast[F32](), acc[at])
        if columns + stride < Int(n_out):
            load_columns[w_type, n_chunks](w, factors, columns + stride, size, Int(n_out))
        var sums = Array[Float32, MAX_SKINNY_ROWS * COLUMNS](fill=0)
        comptime for at in range(MAX_SKINNY_ROWS * COLUMNS):
            sums[at] = warp.sum(acc[at].reduce_add())
        comptime for at in range(MAX_SKINNY_ROWS * COLUMNS):
            comptime row = at // COLUMNS
            var column = columns + at % COLUMNS
            if Int(lane_id()) == at and row < Int(n_rows) and column < Int(n_out):
                store_output[out_type, has_gelu=has_gelu, has_residual=False](
                    output.unsafe_offset(row * Int(n_out)), bias, bias, sums[at], column
                )


def skinny_matmul[
    x_type: DType,
    w_type: DType,
    out_type: DType,
    //,
    *,
    has_norm: Bool,
    has_gelu: Bool,
    has_residual: Bool,
    n_chunks: Int,
](
    output: DevicePointer[out_type],
    x: DevicePointer[x_type],
    w: DevicePointer[w_type],
    bias: FloatPointer,
    residual: FloatPointer,
    norm_weight: FloatPointer,
    norm_bias: FloatPointer,
    n_rows: Int,
    n_in: Int,
    n_out: Int,
    ctx: DeviceContext,
) raises:
    """Launches act(norm(x) w^T + bias) + residual of up to MAX_SKINNY_ROWS rows.

    Parameters:
        x_type: Of x, float32 where there is a layer norm.
        w_type: Of the matrix.
        out_type: Of the output.
        has_norm: True where rows are layer-normalized before.
        has_gelu: True where GELU follows the bias.
        has_residual: True where a residual is added last; never together with a layer norm.
        n_chunks: Width of a row in chunks of WARP_CHUNK values.

    Args:
        output: [n_rows, n_out].
        x: [n_rows, n_in].
        w: [n_out, n_in].
        bias: [n_out].
        residual: [n_rows, n_out].
        norm_weight: [n_in].
        norm_bias: [n_in].
        n_rows: Number of rows.
        n_in: Inputs, a multiple of 4.
        n_out: Outputs.
        ctx: Stream.
    """
    var n_blocks = min(ceildiv(n_out, WARPS * COLUMNS), FILLING_BLOCKS * multiprocessors(ctx))

    @__parameter
    def launch_gemv[rows: Int]() raises:
        ctx.enqueue_function[
            gemv_kernel[
                x_type=x_type,
                w_type=w_type,
                out_type=out_type,
                has_gelu=has_gelu,
                has_residual=has_residual,
                rows=rows,
            ]
        ](
            output,
            x,
            w,
            bias,
            residual,
            Int32(n_rows),
            Int32(n_in),
            Int32(n_out),
            grid_dim=ceildiv(n_out, WARPS),
            block_dim=WARPS * WARP_SIZE,
            attributes=pdl_attributes(),
        )

    comptime if has_norm:
        comptime assert not has_residual, "no layer of Whisper has both"
        comptime assert x_type == F32, "rows are normalized in float32"
        var floats = rebind[FloatPointer](x)
        if n_rows == 1:
            ctx.enqueue_function[
                norm_gemv_kernel[
                    w_type=w_type, out_type=out_type, has_gelu=has_gelu, n_chunks=n_chunks
                ]
            ](
                output,
                floats,
                w,
                bias,
                norm_weight,
                norm_bias,
                Int32(n_in),
                Int32(n_out),
                grid_dim=n_blocks,
                block_dim=WARPS * WARP_SIZE,
                attributes=pdl_attributes(),
            )
        else:
            ctx.enqueue_function[
                norm_skinny_matmul_kernel[
                    w_type=w_type, out_type=out_type, has_gelu=has_gelu, n_chunks=n_chunks
                ]
            ](
                output,
                floats,
                w,
                bias,
                norm_weight,
                norm_bias,
                Int32(n_rows),
                Int32(n_in),
                Int32(n_out),
                grid_dim=n_blocks,
                block_dim=WARPS * WARP_SIZE,
                attributes=pdl_attributes(),
            )
    else:
        if n_rows == 1:
            launch_gemv[rows=1]()
        else:
            launch_gemv[rows=MAX_SKINNY_ROWS]()
