"""Matmul of a few rows in half precision by tensor cores (mma.sync), on every GPU since Ampere.

So few rows are limited by latency: tiles of 64 columns would leave most multiprocessors idle. A
block computes 16 outputs, and its warps share the inputs (split K); their sums are added in shared
memory. Factors go from device memory to registers, each lane's 8 neighbours of a row at once: which
inputs meet in an instruction does not matter, as long as they are the same ones on both sides.
"""
from max.gpu import WARP_SIZE, block_idx, lane_id, thread_idx, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv
from std.memory import bitcast, unsafe_stack_allocation
from .gemv import store_output
from .mma import Fragment, mma
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer

comptime MAX_ROWS = 32
"""Rows up to which it is faster than tiles of 64 rows and columns, measured on an H200."""
comptime MAX_COLUMNS = 8192
"""Outputs up to which it is; more of them fill the GPU by themselves."""
comptime MAX_NARROW_ROWS = 128
"""Rows up to which it is where there are few outputs."""
comptime MAX_TILES = 32
"""Tiles of 64 rows and columns up to which outputs are few."""
comptime WARPS = 8
comptime OUTPUTS = 16
"""Outputs of a block."""
comptime TILE_ROWS = 8
"""Rows of an instruction."""
comptime N_TILES = 2
"""Instructions' rows that a block computes; four are as fast with 32 rows, slower with 8."""
comptime LANE_INPUTS = 8
"""Neighbouring inputs that a lane loads at once."""
comptime STEP = 4 * LANE_INPUTS
"""Inputs of a step of a warp."""
comptime AHEAD = 2
"""Steps whose weights are loaded before the kernel waits for the one ahead of it."""


@always_inline
def load_inputs[
    dtype: DType
](source: DevicePointer[dtype], row: Int, k: Int, n_in: Int) -> Fragment:
    """Returns a lane's inputs of a row from k on; zeros beyond its end."""
    if k >= n_in:
        return Fragment(0)
    var inputs = source.unsafe_load[width=LANE_INPUTS, alignment=16](row * n_in + k)
    return bitcast[DType.uint32, 4](inputs)


@always_inline
def add_products[
    dtype: DType, n_tiles: Int
](
    upper: Fragment,
    lower: Fragment,
    rows: Array[Fragment, n_tiles],
    mut sums: Array[SIMD[F32, 4], n_tiles],
):
    """Adds the products of a step: two instructions for each tile of rows.

    Parameters:
        dtype: Either float16 or bfloat16.
        n_tiles: Tiles of rows.

    Args:
        upper: Weights of the lane's first output.
        lower: Weights of the output eight below.
        rows: Inputs of the lane's row of each tile.
        sums: Of each tile, outputs by rows.
    """
    comptime for half in range(2):
        var weights = Fragment(
            upper[2 * half], lower[2 * half], upper[2 * half + 1], lower[2 * half + 1]
        )
        comptime for t in range(n_tiles):
            sums[t] = mma[dtype](weights, rows[t][2 * half], rows[t][2 * half + 1], sums[t])


@always_inline
def store_sums[
    n_tiles: Int, //, out_type: DType, *, has_gelu: Bool, has_residual: Bool
](
    output: DevicePointer[out_type],
    bias: FloatPointer,
    residual: FloatPointer,
    sums: Array[SIMD[F32, 4], n_tiles],
    first_row: Int,
    n_rows: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """Adds the sums of a block's warps, applies the epilogue and stores them.

    For parameters and arguments see `split_k_matmul_kernel`; `sums` are those of the lane, and
    `first_row` is the block's first row.
    """
    comptime tile_size = OUTPUTS * TILE_ROWS
    var shared = unsafe_stack_allocation[
        WARPS * n_tiles * tile_size, Float32, alignment=16, address_space=.SHARED
    ]()
    comptime for t in range(n_tiles):
        comptime for i in range(4):
            var at = ((Int(warp_id()) * n_tiles + t) * 4 + i) * WARP_SIZE + Int(lane_id())
            shared[unsafe_offset=at] = sums[t][i]
    barrier()
    for at in range(Int(thread_idx.x), n_tiles * tile_size, WARPS * WARP_SIZE):
        var lane = at % WARP_SIZE
        var part = at // WARP_SIZE % 4
        var row = first_row + at // tile_size * TILE_ROWS + lane % 4 * 2 + part % 2
        var column = Int(block_idx.x) * OUTPUTS + lane // 4 + part // 2 * (OUTPUTS // 2)
        var sum = Float32(0)
        comptime for i in range(WARPS):
            sum += shared[unsafe_offset=i * n_tiles * tile_size + at]
        if row < Int(n_rows) and column < Int(n_out):
            store_output[out_type, has_gelu=has_gelu, has_residual=has_residual](
                output.unsafe_offset(row * Int(n_out)),
                bias,
                residual.unsafe_offset(row % Int(n_residual_rows) * Int(n_out)),
                sum,
                column,
            )


def split_k_matmul_kernel[
    *, dtype: DType, out_type: DType, has_gelu: Bool, has_residual: Bool, n_tiles: Int
](
    output: DevicePointer[out_type],
    x: DevicePointer[dtype],
    w: DevicePointer[dtype],
    bias: FloatPointer,
    residual: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """Computes OUTPUTS outputs of `n_tiles` tiles of rows; blocks: (outputs, rows).

    `n_tiles` is the number of tiles of TILE_ROWS rows; for all else see `split_k_matmul`.
    """
    launch_dependents()
    var lane = Int(lane_id())
    var first_output = Int(block_idx.x) * OUTPUTS
    var first_row = Int(block_idx.y) * n_tiles * TILE_ROWS
    var size = Int(n_in)
    var shift = Int(warp_id()) * STEP + lane % 4 * LANE_INPUTS
    var upper_output = min(first_output + lane // 4, Int(n_out) - 1)
    var lower_output = min(first_output + lane // 4 + OUTPUTS // 2, Int(n_out) - 1)
    var upper = Array[Fragment, AHEAD](fill=Fragment(0))
    var lower = Array[Fragment, AHEAD](fill=Fragment(0))
    comptime for i in range(AHEAD):
        upper[i] = load_inputs(w, upper_output, shift + i * WARPS * STEP, size)
        lower[i] = load_inputs(w, lower_output, shift + i * WARPS * STEP, size)
    wait_on_dependencies()
    var sums = Array[SIMD[F32, 4], n_tiles](fill=SIMD[F32, 4](0))
    for k in range(shift, size + shift, AHEAD * WARPS * STEP):
        comptime for i in range(AHEAD):
            var at = k + i * WARPS * STEP
            var rows = Array[Fragment, n_tiles](fill=Fragment(0))
            comptime for t in range(n_tiles):
                var row = min(first_row + t * TILE_ROWS + lane // 4, Int(n_rows) - 1)
                rows[t] = load_inputs(x, row, at, size)
            add_products[dtype, n_tiles](upper[i], lower[i], rows, sums)
            upper[i] = load_inputs(w, upper_output, at + AHEAD * WARPS * STEP, size)
            lower[i] = load_inputs(w, lower_output, at + AHEAD * WARPS * STEP, size)
    store_sums[out_type, has_gelu=has_gelu, has_residual=has_residual](
        output, bias, residual, sums, first_row, n_rows, n_out, n_residual_rows
    )


def is_split_k_faster(n_rows: Int, n_out: Int) -> Bool:
    """Returns True where a matmul of so many rows and outputs leaves multiprocessors idle."""
    if n_rows <= MAX_ROWS:
        return n_out <= MAX_COLUMNS
    return n_rows <= MAX_NARROW_ROWS and ceildiv(n_rows, 64) * ceildiv(n_out, 64) <= MAX_TILES


def split_k_matmul[
    dtype: DType, out_type: DType, //, *, has_gelu: Bool, has_residual: Bool
](
    output: DevicePointer[out_type],
    x: DevicePointer[dtype],
    w: DevicePointer[dtype],
    bias: FloatPointer,
    residual: FloatPointer,
    n_rows: Int,
    n_in: Int,
    n_out: Int,
    n_residual_rows: Int,
    ctx: DeviceContext,
) raises:
    """Launches act(x w^T + bias) + residual of a few rows.

    Parameters:
        dtype: Of rows and matrix.
        out_type: Of the output.
        has_gelu: True where GELU follows the bias.
        has_residual: True where a residual is added last.

    Args:
        output: [n_rows, n_out].
        x: [n_rows, n_in].
        w: [n_out, n_in].
        bias: [n_out].
        residual: [n_residual_rows, n_out], repeated where it has fewer rows.
        n_rows: Number of rows.
        n_in: Inputs, a multiple of 8.
        n_out: Outputs.
        n_residual_rows: Rows of the residual.
        ctx: Stream.
    """
    comptime kernel = split_k_matmul_kernel[
        dtype=dtype,
        out_type=out_type,
        has_gelu=has_gelu,
        has_residual=has_residual,
        n_tiles=N_TILES,
    ]
    ctx.enqueue_function[kernel](
        output,
        x,
        w,
        bias,
        residual,
        Int32(n_rows),
        Int32(n_in),
        Int32(n_out),
        Int32(n_residual_rows),
        grid_dim=(ceildiv(n_out, OUTPUTS), ceildiv(n_rows, N_TILES * TILE_ROWS)),
        block_dim=WARPS * WARP_SIZE,
        attributes=pdl_attributes(),
    )
